// Programs for the images of the test cluster; they need nothing but the standard library.
module cache-registry.enix.io/hack/tools/images

go 1.26.0
