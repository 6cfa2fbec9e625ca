// Command kubelet serves a file's metrics as a kubelet does: gathered by client_golang, written by
// its handler, over Go's TLS. Usage: kubelet ADDRESS CERTIFICATE KEY TEXT
package main

import (
	"bytes"
	"log"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"sort"
)

type gatherer struct{ families []*dto.MetricFamily }

func (g gatherer) Gather() ([]*dto.MetricFamily, error) { return g.families, nil }

func main() {
	text, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		log.Fatal(err)
	}
	var families []*dto.MetricFamily
	for _, family := range found {
		families = append(families, family)
	}
	sort.Slice(families, func(i, j int) bool { return families[i].GetName() < families[j].GetName() })
	options := promhttp.HandlerOpts{DisableCompression: true}
	http.Handle("/metrics/cadvisor", promhttp.HandlerFor(gatherer{families}, options))
	log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], nil))
}
