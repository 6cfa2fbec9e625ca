package main

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func newParser(format string, body []byte, symbols *labels.SymbolTable) (textparse.Parser, error) {
	switch format {
	case "text":
		return textparse.NewPromParser(body, symbols, false), nil
	case "openmetrics":
		return textparse.NewOpenMetricsParser(body, symbols), nil
	}
	return nil, fmt.Errorf("bad request: unknown format %q", format)
}

func parse(asked *request) (answer, error) {
	parser, err := newParser(asked.Format, asked.Body, labels.NewSymbolTable())
	if err != nil {
		return nil, err
	}
	entries := []answer{}
	for {
		kind, err := parser.Next()
		if err == io.EOF {
			return answer{"entries": entries}, nil
		}
		if err != nil {
			return answer{"entries": entries}, err
		}
		entry, err := describe(parser, kind)
		if err != nil {
			return answer{"entries": entries}, err
		}
		entries = append(entries, entry)
	}
}

func describe(parser textparse.Parser, kind textparse.Entry) (answer, error) {
	switch kind {
	case textparse.EntrySeries:
		return series(parser), nil
	case textparse.EntryType:
		name, metricType := parser.Type()
		return answer{"kind": "type", "name": safe(string(name)), "type": string(metricType)}, nil
	case textparse.EntryHelp:
		name, text := parser.Help()
		return answer{"kind": "help", "name": safe(string(name)), "text": safe(string(text))}, nil
	case textparse.EntryUnit:
		name, unit := parser.Unit()
		return answer{"kind": "unit", "name": safe(string(name)), "unit": safe(string(unit))}, nil
	case textparse.EntryComment:
		return answer{"kind": "comment"}, nil
	}
	return nil, fmt.Errorf("unexpected entry kind %d", kind)
}

func series(parser textparse.Parser) answer {
	var all labels.Labels
	_, timestamp, value := parser.Series()
	parser.Labels(&all)
	entry := answer{
		"kind":         "series",
		"name":         "",
		"value":        number(value),
		"timestamp_ms": nil,
		"exemplar":     nil,
	}
	if timestamp != nil {
		entry["timestamp_ms"] = *timestamp
	}
	// Only the first __name__ is the name: a second one, written as a label, is a duplicate label.
	named := false
	pairs := [][2]string{}
	all.Range(func(label labels.Label) {
		switch {
		case label.Name == model.MetricNameLabel && !named:
			named = true
			entry["name"] = safe(label.Value)
		case label.Value != "":
			pairs = append(pairs, [2]string{safe(label.Name), safe(label.Value)})
		}
	})
	entry["labels"] = pairs

	var found exemplar.Exemplar
	if parser.Exemplar(&found) {
		entry["exemplar"] = describeExemplar(&found)
	}
	return entry
}

func describeExemplar(found *exemplar.Exemplar) answer {
	pairs := [][2]string{}
	found.Labels.Range(func(label labels.Label) {
		if label.Value != "" {
			pairs = append(pairs, [2]string{safe(label.Name), safe(label.Value)})
		}
	})
	described := answer{"labels": pairs, "value": number(found.Value), "timestamp_ms": nil}
	if found.HasTs {
		described["timestamp_ms"] = found.Ts
	}
	return described
}

func number(value float64) string {
	return strconv.FormatFloat(value, 'g', -1, 64)
}

func countFamilies(asked *request) (answer, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(asked.Body))
	return answer{"families": len(families)}, err
}
