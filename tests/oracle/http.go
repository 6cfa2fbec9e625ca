package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
)

const maxInterim = 16

// readResponse reads raw bytes as Go's client does, as if the server closed after them.
func readResponse(asked *request) (answer, error) {
	reader := bufio.NewReader(bytes.NewReader(asked.Body))
	for range maxInterim {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return nil, err
		}
		if response.StatusCode == http.StatusSwitchingProtocols {
			return nil, errors.New("switches protocols")
		}
		if response.StatusCode >= 100 && response.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		return answer{
			"status": response.StatusCode,
			"body":   body,
			"type":   safe(response.Header.Get("Content-Type")),
		}, nil
	}
	return nil, errors.New("too many interim responses")
}
