package main

import (
	"errors"
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"
)

func relabelLabels(asked *request) (answer, error) {
	many := asked.Cases != nil
	rules, err := loadRules(asked.Rules, asked.Scheme)
	if err != nil {
		if many {
			return answer{"results": []any{}}, err
		}
		return answer{"labels": nil}, err
	}
	if !many {
		return answer{"labels": apply(rules, asked.Labels)}, nil
	}
	results := make([]map[string]string, 0, len(asked.Cases))
	for _, given := range asked.Cases {
		results = append(results, apply(rules, given))
	}
	return answer{"results": results}, nil
}

// loadRules loads the rules as Prometheus's configuration loader does, in the same order.
func loadRules(text, scheme string) ([]*relabel.Config, error) {
	validation := model.UTF8Validation
	switch scheme {
	case "", "utf8":
	case "legacy":
		validation = model.LegacyValidation
	default:
		return nil, fmt.Errorf("bad request: unknown scheme %q", scheme)
	}
	var rules []*relabel.Config
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if rule == nil {
			return nil, errors.New("empty or null relabeling rule")
		}
	}
	for _, rule := range rules {
		if err := rule.Validate(validation); err != nil {
			return nil, err
		}
	}
	return rules, nil
}

func apply(rules []*relabel.Config, given map[string]string) map[string]string {
	builder := labels.NewBuilder(labels.FromMap(given))
	if !relabel.ProcessBuilder(builder, rules...) {
		return nil
	}
	kept := map[string]string{}
	builder.Range(func(label labels.Label) {
		kept[safe(label.Name)] = safe(label.Value)
	})
	return kept
}

func selector(asked *request) (answer, error) {
	found, err := parser.NewParser(parser.Options{}).ParseMetricSelector(asked.Text)
	matchers := [][3]string{}
	if err == nil {
		for _, matcher := range found {
			matchers = append(matchers, [3]string{
				matcher.Type.String(), safe(matcher.Name), safe(matcher.Value),
			})
		}
	}
	return answer{"matchers": matchers}, err
}

var everyFeature = parser.NewParser(parser.Options{
	EnableExperimentalFunctions:  true,
	ExperimentalDurationExpr:     true,
	EnableExtendedRangeSelectors: true,
	EnableBinopFillModifiers:     true,
})

func query(asked *request) (answer, error) {
	found, err := everyFeature.ParseExpr(asked.Text)
	if err != nil {
		return answer{"query": nil}, err
	}
	// A name before the braces and one in them mean the same in evaluation.
	parser.Inspect(found, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			selector.Name = ""
		}
		return nil
	})
	return answer{"query": safe(found.String())}, nil
}

func matchRegexp(asked *request) (answer, error) {
	compiled, err := relabel.NewRegexp(asked.Pattern)
	if err != nil {
		return answer{"match": false}, err
	}
	return answer{"match": compiled.MatchString(asked.Value)}, nil
}
