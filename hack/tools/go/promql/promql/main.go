// Reads a JSON list of PromQL expressions and prints, for each, the metrics that it selects and, when it does not parse,
// why not: [{"metrics": ["up"]}, {"error": "…"}].
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

type answer struct {
	Metrics []string `json:"metrics"`
	Error   string   `json:"error,omitempty"`
}

func main() {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	answers := []answer{}
	for _, expression := range expressions {
		answers = append(answers, read(expression))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(expression string) answer {
	found := answer{Metrics: []string{}}
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		found.Error = err.Error()
		return found
	}
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			found.Metrics = append(found.Metrics, selector.Name)
		}
		return nil
	})
	return found
}
