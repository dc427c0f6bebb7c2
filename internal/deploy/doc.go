// Package deploy holds the manifests of deploy/k8s and the image of deploy/image to the truth: its tests build the
// kustomizations as `kubectl apply -k` does, decode every object strictly into its type of the Kubernetes API, look for every
// flag, variable, port, path and name they use in the programs and in each other, and run the pods they describe.
//
// Start with rules_test.go for what must hold of the manifests, and pods_linux_test.go for the running programs.
package deploy
