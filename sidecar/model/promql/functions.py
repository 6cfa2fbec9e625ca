"""PromQL functions, classified for enforcement.

Unknown functions are refused, because a function may read series that no selector names.

Source: https://github.com/prometheus/prometheus/blob/main/promql/parser/functions.go
"""

OF_SELECTORS = frozenset(
    [
        "avg_over_time", "changes", "count_over_time", "delta", "deriv",
        "double_exponential_smoothing", "first_over_time", "idelta", "increase", "irate",
        "last_over_time", "mad_over_time", "max_over_time", "min_over_time", "predict_linear",
        "present_over_time", "quantile_over_time", "rate", "resets", "start_timestamp",
        "stddev_over_time", "stdvar_over_time", "sum_over_time", "timestamp",
        "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time",
        "ts_of_min_over_time",
    ]
)  # fmt: skip
"""Functions that read a selector's samples and compute each result from one series alone."""
ABSENCES = frozenset(["absent", "absent_over_time"])
"""Functions whose result takes its labels from the equality matchers of a selector."""
REFUSED = frozenset(["info"])
"""Functions that read series that no selector of the query names."""
FUNCTIONS = (
    OF_SELECTORS
    | ABSENCES
    | REFUSED
    | frozenset(
        [
            "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "clamp", "clamp_max",
            "clamp_min", "cos", "cosh", "days_in_month", "day_of_month", "day_of_week",
            "day_of_year", "deg", "end", "exp", "floor", "histogram_avg", "histogram_count",
            "histogram_sum", "histogram_stddev", "histogram_stdvar", "histogram_fraction",
            "histogram_quantile", "histogram_quantiles", "hour", "label_replace", "label_join",
            "ln", "log10", "log2", "max_of", "min_of", "minute", "month", "pi", "rad", "range",
            "round", "scalar", "sgn", "sin", "sinh", "sort", "sort_desc", "sort_by_label",
            "sort_by_label_desc", "sqrt", "start", "step", "tan", "tanh", "time", "vector", "year",
        ]
    )
)  # fmt: skip
"""All functions that the parser accepts."""
