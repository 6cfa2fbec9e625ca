package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

const (
	defaultSeconds = 0.5
	maxSeconds     = 60
)

func bench(asked *request) (answer, error) {
	round, err := benchRound(asked)
	if err != nil {
		return nil, err
	}
	lines := bytes.Count(asked.Body, []byte{'\n'})
	if len(asked.Body) > 0 && asked.Body[len(asked.Body)-1] != '\n' {
		lines++
	}
	if lines == 0 {
		return nil, errors.New("bad request: the body has no lines")
	}
	seconds := asked.Seconds
	if seconds == 0 {
		seconds = defaultSeconds
	}
	if seconds < 0 || seconds > maxSeconds {
		return nil, fmt.Errorf("bad request: seconds must be between 0 and %d", maxSeconds)
	}
	if err := round(); err != nil { // warms up, and rejects a broken body
		return nil, err
	}

	limit := time.Duration(seconds * float64(time.Second))
	iterations := 0
	start := time.Now()
	for iterations == 0 || time.Since(start) < limit {
		if err := round(); err != nil {
			return nil, err
		}
		iterations++
	}
	perLine := float64(time.Since(start).Nanoseconds()) / float64(iterations) / float64(lines)
	return answer{"ns_per_line": perLine, "iterations": iterations}, nil
}

func benchRound(asked *request) (func() error, error) {
	switch asked.What {
	case "textparse":
		format := asked.Format
		if format == "" {
			format = "text"
		}
		// The text parser appends a line feed: spare capacity avoids a copy of the body each time.
		body := append(make([]byte, 0, len(asked.Body)+1), asked.Body...)
		symbols := labels.NewSymbolTable()
		return func() error { return walk(format, body, symbols) }, nil
	case "expfmt":
		var out bytes.Buffer
		return func() error { return reencode(asked.Body, &out) }, nil
	}
	return nil, fmt.Errorf("bad request: unknown bench %q", asked.What)
}

func walk(format string, body []byte, symbols *labels.SymbolTable) error {
	parser, err := newParser(format, body, symbols)
	if err != nil {
		return err
	}
	var found labels.Labels
	for {
		kind, err := parser.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if kind == textparse.EntrySeries {
			parser.Labels(&found)
		}
	}
}

func reencode(body []byte, out *bytes.Buffer) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return err
	}
	out.Reset()
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(out, family); err != nil {
			return err
		}
	}
	return nil
}
