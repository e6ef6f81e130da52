module cache-registry.enix.io/hack/tools/crds

go 1.26.0

// Nothing is built: these hold the CustomResourceDefinitions of what the chart can talk to.
require (
	github.com/fluxcd/source-controller v1.9.6
	github.com/prometheus-operator/prometheus-operator v0.85.0
	istio.io/api v1.31.1
	sigs.k8s.io/gateway-api v1.6.3
)
