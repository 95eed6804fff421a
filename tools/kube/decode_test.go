package kube

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are the types that objects are read into.
var kinds = map[string]func() any{
	"v1 ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"v1 Namespace":                            func() any { return new(corev1.Namespace) },
	"v1 Pod":                                  func() any { return new(corev1.Pod) },
	"v1 Service":                              func() any { return new(corev1.Service) },
	"v1 ServiceAccount":                       func() any { return new(corev1.ServiceAccount) },
	"apps/v1 Deployment":                      func() any { return new(appsv1.Deployment) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(monitoringv1.ServiceMonitor) },
}

// decode reads all objects of a text into their types. A field that the type does not
// have is an error, and so is one that stands twice.
func decode(text string) (all []any, err error) {
	for _, one := range strings.Split("\n"+text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(one), &kind); err != nil {
			return nil, err
		}
		if kind == (metav1.TypeMeta{}) && strings.TrimSpace(one) == "" {
			continue
		}
		make, known := kinds[kind.APIVersion+" "+kind.Kind]
		if !known {
			return nil, fmt.Errorf("no type for %s %s", kind.APIVersion, kind.Kind)
		}
		object := make()
		if err := decodeInto(object, one); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		all = append(all, object)
	}
	return all, nil
}

// decodeInto goes by JSON without regard to the type, as kubectl does: read right into
// it, a number would become a text where a text is wanted.
func decodeInto(object any, text string) error {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(data, object)
	return errors.Join(append(unknown, err)...)
}

// objects returns the objects of a golden.
func objects(t *testing.T, g golden) []any {
	t.Helper()
	all, err := decode(read(t, g.file))
	if err != nil {
		t.Fatalf("%s: %v", g.file, err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", g.file)
	}
	return all
}

// pods returns the pods of all objects that have one, by kind and name.
func pods(all []any) map[string]corev1.PodTemplateSpec {
	found := map[string]corev1.PodTemplateSpec{}
	for _, object := range all {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found["Deployment "+o.Name] = o.Spec.Template
		case *corev1.Pod:
			found["Pod "+o.Name] = corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		}
	}
	return found
}

func TestEveryObjectIsOfAKindAndHasNoUnknownField(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) { objects(t, g) })
	}
}

func TestDecodeRefusesWhatAnAPIServerWould(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown field":  "apiVersion: v1\nkind: Service\nspec: {portz: []}\n",
		"a field twice":     "apiVersion: v1\nkind: Service\nspec: {}\nspec: {}\n",
		"a number for text": "apiVersion: v1\nkind: ConfigMap\ndata: {a: 1}\n",
		"an unknown kind":   "apiVersion: v1\nkind: Serviec\n",
		"no kind":           "spec: {}\n",
	} {
		if _, err := decode(text); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
