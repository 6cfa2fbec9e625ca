// Command oracle answers questions about Prometheus's formats and rules with Prometheus's own code.
//
// It reads JSON requests from stdin and writes JSON answers to stdout, one per line, in order.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

const maxLine = 64 << 20

var errLineTooLong = errors.New("request line longer than 64 MiB")

type request struct {
	Op      string              `json:"op"`
	Format  string              `json:"format"`
	Body    []byte              `json:"body"` // base64 in JSON
	Rules   string              `json:"rules"`
	Labels  map[string]string   `json:"labels"`
	Cases   []map[string]string `json:"cases"`
	Scheme  string              `json:"scheme"`
	Text    string              `json:"text"`
	Pattern string              `json:"pattern"`
	Value   string              `json:"value"`
	What    string              `json:"what"`
	Seconds float64             `json:"seconds"`
}

type answer map[string]any

var operations = map[string]func(*request) (answer, error){
	"parse":    parse,
	"http":     readResponse,
	"relabel":  relabelLabels,
	"selector": selector,
	"query":    query,
	"regexp":   matchRegexp,
	"expfmt":   countFamilies,
	"bench":    bench,
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	reader := bufio.NewReaderSize(in, 1<<16)
	writer := bufio.NewWriterSize(out, 1<<16)
	encoder := json.NewEncoder(writer)
	encoder.SetEscapeHTML(false)
	for {
		line, err := readLine(reader)
		if err == io.EOF {
			return nil
		}
		var reply answer
		switch {
		case err == nil:
			reply = respond(line)
		case errors.Is(err, errLineTooLong):
			reply = answer{"error": err.Error()}
		default:
			return err
		}
		if err := encoder.Encode(reply); err != nil {
			return err
		}
		if err := writer.Flush(); err != nil {
			return err
		}
	}
}

// readLine returns the next line, or errLineTooLong after skipping a line over the limit.
func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := reader.ReadSlice('\n')
		if !tooLong && len(line)+len(part) > maxLine {
			tooLong, line = true, nil
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err != nil && (err != io.EOF || (len(line) == 0 && !tooLong)):
			return nil, err
		case tooLong:
			return nil, errLineTooLong
		}
		return line, nil
	}
}

func respond(line []byte) (reply answer) {
	defer func() {
		if caught := recover(); caught != nil {
			reply = answer{"error": errorText(fmt.Errorf("panic: %v", caught))}
		}
	}()
	var asked request
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return answer{"error": "bad request: " + errorText(err)}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return answer{"error": "bad request: more than one JSON value on the line"}
	}
	operation, known := operations[asked.Op]
	if !known {
		return answer{"error": fmt.Sprintf("bad request: unknown op %q", asked.Op)}
	}
	reply, err := operation(&asked)
	if reply == nil {
		reply = answer{}
	}
	reply["error"] = nil
	if err != nil {
		reply["error"] = errorText(err)
	}
	return reply
}

func errorText(err error) string {
	return strings.ToValidUTF8(err.Error(), "\uFFFD")
}

// safe makes any bytes fit for JSON; text that already looks encoded is encoded too, so that
// decoding is never ambiguous.
func safe(text string) string {
	if utf8.ValidString(text) && !strings.HasPrefix(text, "hex:") {
		return text
	}
	return "hex:" + hex.EncodeToString([]byte(text))
}
