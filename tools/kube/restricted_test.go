package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// violations holds a pod against the Pod Security Standard "restricted", as far as its
// fields are ours: the containers with the prefix, all volumes, and the pod. The list
// is that of https://kubernetes.io/docs/concepts/security/pod-security-standards/.
func violations(pod corev1.PodSpec, prefix string) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		say("a namespace of the host is used")
	}
	for _, v := range pod.Volumes {
		s := v.VolumeSource
		if s.ConfigMap == nil && s.CSI == nil && s.DownwardAPI == nil && s.EmptyDir == nil && s.Ephemeral == nil && s.PersistentVolumeClaim == nil && s.Projected == nil && s.Secret == nil {
			say("volume %s is of a kind that is not allowed", v.Name)
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if strings.HasPrefix(c.Name, prefix) {
			for _, text := range containerViolations(c, pod.SecurityContext) {
				say("container %s: %s", c.Name, text)
			}
		}
	}
	return all
}

// containerViolations looks at one container. What it does not say itself, its pod may
// say, and a pod that says nothing is as nil.
func containerViolations(c corev1.Container, pod *corev1.PodSecurityContext) (all []string) {
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	s := c.SecurityContext
	if s == nil {
		s = &corev1.SecurityContext{}
	}
	if s.Privileged != nil && *s.Privileged {
		all = append(all, "privileged")
	}
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		all = append(all, "allowPrivilegeEscalation is not false")
	}
	if nonRoot := first(s.RunAsNonRoot, pod.RunAsNonRoot); nonRoot == nil || !*nonRoot {
		all = append(all, "runAsNonRoot is not true")
	}
	if user := first(s.RunAsUser, pod.RunAsUser); user != nil && *user == 0 {
		all = append(all, "runAsUser is 0")
	}
	if profile := first(s.SeccompProfile, pod.SeccompProfile); profile == nil || profile.Type == corev1.SeccompProfileTypeUnconfined {
		all = append(all, "seccompProfile is not RuntimeDefault or Localhost")
	}
	if s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount {
		all = append(all, "procMount is not Default")
	}
	if first(s.SELinuxOptions, pod.SELinuxOptions) != nil || first(s.AppArmorProfile, pod.AppArmorProfile) != nil {
		all = append(all, "SELinux or AppArmor is not left to the node")
	}
	for _, p := range c.Ports {
		if p.HostPort != 0 {
			all = append(all, "hostPort")
		}
	}
	return append(all, capabilityViolations(s.Capabilities)...)
}

func capabilityViolations(c *corev1.Capabilities) (all []string) {
	if c == nil {
		c = &corev1.Capabilities{}
	}
	if !slices.Contains(c.Drop, "ALL") {
		all = append(all, "capabilities are not all dropped")
	}
	for _, added := range c.Add {
		if added != "NET_BIND_SERVICE" {
			all = append(all, "capability "+string(added))
		}
	}
	return all
}

// first returns what is said first, nil when nobody says anything.
func first[T any](all ...*T) *T {
	for _, one := range all {
		if one != nil {
			return one
		}
	}
	return nil
}

// What the init container with the rules of the kernel cannot do without.
var redirectNeeds = []string{
	"container postern-redirect: capability NET_ADMIN",
	"container postern-redirect: runAsNonRoot is not true",
	"container postern-redirect: runAsUser is 0",
}

// And what postern cannot do without where it connects from the client's address.
var transparentNeeds = append(slices.Clone(redirectNeeds),
	"container postern: capability NET_RAW",
	"container postern: runAsNonRoot is not true",
	"container postern: runAsUser is 0",
)

func TestPodsAreRestrictedButForTheRedirect(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			for pod, template := range pods(objects(t, g)) {
				prefix := ""
				if strings.Contains(g.render(t), "restartPolicy: Always") {
					prefix = "postern" // the mail server's container is not ours
				}
				got := violations(template.Spec, prefix)
				slices.Sort(got)
				var want []string
				switch {
				case !strings.HasPrefix(pod, "Deployment"):
				case strings.HasSuffix(name, "redirect"):
					want = redirectNeeds
				case strings.HasSuffix(name, "transparent"):
					want = slices.Sorted(slices.Values(transparentNeeds))
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: violations of restricted: %q, want %q", pod, got, want)
				}
			}
		})
	}
}

func TestEveryContainerOfOursHasAReadOnlyRoot(t *testing.T) {
	for name, g := range goldens(t) {
		for pod, template := range pods(objects(t, g)) {
			for _, c := range slices.Concat(template.Spec.InitContainers, template.Spec.Containers) {
				if strings.HasPrefix(c.Name, "postern") && (c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem) {
					t.Errorf("%s: %s: container %s can write to its root", name, pod, c.Name)
				}
			}
		}
	}
}

func TestViolationsAreFound(t *testing.T) {
	yes, root := true, int64(0)
	pod := corev1.PodSpec{
		HostNetwork: true,
		Volumes:     []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}}},
		Containers: []corev1.Container{{
			Name:  "c",
			Ports: []corev1.ContainerPort{{HostPort: 25}},
			SecurityContext: &corev1.SecurityContext{
				Privileged: &yes, RunAsUser: &root, SELinuxOptions: &corev1.SELinuxOptions{},
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_RAW"}},
			},
		}},
	}
	if got := violations(pod, ""); len(got) != 11 {
		t.Errorf("%d violations: %q", len(got), got)
	}
	if got := violations(corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}, ""); len(got) != 4 {
		t.Errorf("a container that says nothing: %q", got)
	}
}
