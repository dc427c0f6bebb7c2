package deploy

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// tree is deploy/k8s: the text of its YAML files by their path in it.
type tree map[string]string

func readTree(t *testing.T) tree {
	t.Helper()
	files := tree{}
	dir := os.DirFS(root + "/deploy/k8s")
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".yaml" {
			return err
		}
		text, err := fs.ReadFile(dir, name)
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// build is `kubectl kustomize folder`: every object as YAML.
func (f tree) build(folder string) ([]string, error) {
	disk := filesys.MakeFsInMemory()
	for name, text := range f {
		if err := disk.WriteFile("/"+name, []byte(text)); err != nil {
			return nil, err
		}
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, "/"+folder)
	if err != nil {
		return nil, err
	}
	text, err := built.AsYaml()
	return documents(string(text)), err
}

// documents splits a YAML stream.
func documents(stream string) (list []string) {
	for d := range strings.SplitSeq("\n"+stream, "\n---\n") {
		if strings.TrimSpace(d) != "" {
			list = append(list, d)
		}
	}
	return list
}

// objects are the decoded objects of a build, by name.
type objects struct {
	namespaces      map[string]*corev1.Namespace
	configMaps      map[string]*corev1.ConfigMap
	serviceAccounts map[string]*corev1.ServiceAccount
	services        map[string]*corev1.Service
	deployments     map[string]*appsv1.Deployment
	jobs            map[string]*batchv1.Job
	budgets         map[string]*policyv1.PodDisruptionBudget
	scalers         map[string]*autoscalingv2.HorizontalPodAutoscaler
	ingresses       map[string]*networkingv1.Ingress
	policies        map[string]*networkingv1.NetworkPolicy
}

// decode decodes every document strictly into its type: an unknown or doubled field is an error, and so is a kind that is not listed
// here, a Secret first of all.
func decode(docs []string) (o objects, err error) {
	for _, d := range docs {
		var head metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(d), &head); err != nil {
			return o, err
		}
		switch head.APIVersion + " " + head.Kind {
		case "v1 Namespace":
			err = put(&o.namespaces, d)
		case "v1 ConfigMap":
			err = put(&o.configMaps, d)
		case "v1 ServiceAccount":
			err = put(&o.serviceAccounts, d)
		case "v1 Service":
			err = put(&o.services, d)
		case "apps/v1 Deployment":
			err = put(&o.deployments, d)
		case "batch/v1 Job":
			err = put(&o.jobs, d)
		case "policy/v1 PodDisruptionBudget":
			err = put(&o.budgets, d)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			err = put(&o.scalers, d)
		case "networking.k8s.io/v1 Ingress":
			err = put(&o.ingresses, d)
		case "networking.k8s.io/v1 NetworkPolicy":
			err = put(&o.policies, d)
		default:
			err = fmt.Errorf("%s %s is no kind that is used here", head.APIVersion, head.Kind)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func put[T any](into *map[string]*T, doc string) error {
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(doc), object); err != nil {
		return err
	}
	meta := any(object).(metav1.Object)
	if *into == nil {
		*into = map[string]*T{}
	}
	if (*into)[meta.GetName()] != nil {
		return fmt.Errorf("%T %s is there twice", object, meta.GetName())
	}
	(*into)[meta.GetName()] = object
	return nil
}

// meta is the metadata of every object.
func (o objects) meta() (list []metav1.Object) {
	return slices.Concat(each(o.configMaps), each(o.serviceAccounts), each(o.services), each(o.deployments), each(o.jobs), each(o.budgets),
		each(o.scalers), each(o.ingresses), each(o.policies))
}

func each[T any](m map[string]*T) (list []metav1.Object) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, any(m[name]).(metav1.Object))
	}
	return list
}

// Every file is what it says it is, down to the last field: kustomize itself lets unknown fields of objects through.
func TestFilesDecodeStrictly(t *testing.T) {
	files := readTree(t)
	kustomizations := 0
	for name, text := range files {
		if path.Base(name) == "kustomization.yaml" {
			kustomizations++
			var k types.Kustomization
			if err := yaml.UnmarshalStrict([]byte(text), &k); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, file := range resources(k) {
				if _, there := files[path.Join(path.Dir(name), file)]; !there {
					if _, there = files[path.Join(path.Dir(name), file, "kustomization.yaml")]; !there {
						t.Errorf("%s names %s, which is not there", name, file)
					}
				}
			}
			if warnings := k.CheckDeprecatedFields(); warnings != nil && len(*warnings) > 0 {
				t.Errorf("%s: %v", name, *warnings)
			}
			continue
		}
		for _, d := range documents(text) {
			if _, err := decode([]string{d}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if kustomizations != 4 {
		t.Errorf("%d kustomizations, want the base, two components and the example", kustomizations)
	}
}

func resources(k types.Kustomization) []string {
	list := slices.Concat(k.Resources, k.Components)
	for _, p := range k.Patches {
		list = append(list, p.Path)
	}
	return list
}
