package telemetry

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"postern/proxy"
	"postern/tls/level"
	"postern/tls/policy"
)

func TestEachDeliveryIsCounted(t *testing.T) {
	may := &policy.Decision{Level: level.May, Source: policy.SourceDefault}
	for name, c := range map[string]struct {
		delivery proxy.Delivery
		want     []string
	}{
		"over TLS, on a kept connection that was resumed": {delivered, []string{
			"postern_deliveries_resumed_total{listener=egress} 1",
			"postern_deliveries_reused_total{listener=egress} 1",
			"postern_deliveries_secured_total{cipher=TLS_AES_128_GCM_SHA256,group=X25519,listener=egress,version=TLS 1.3} 1",
			"postern_deliveries_total{level=secure,listener=egress,result=delivered,source=remembered,trust=verified} 1",
			"postern_delivery_phase_duration_seconds{phase=connect} 1 of 2",
			"postern_delivery_phase_duration_seconds{phase=dns} 1 of 1",
			"postern_delivery_phase_duration_seconds{phase=smtp} 1 of 4",
			"postern_delivery_phase_duration_seconds{phase=tls} 1 of 3",
		}},
		"with RSA key exchange": {
			proxy.Delivery{Address: "192.0.2.1", Decision: may, Trust: "Anonymous", Version: tls.VersionTLS12, Cipher: "TLS_RSA_WITH_AES_128_GCM_SHA256", Code: 250},
			[]string{
				"postern_deliveries_secured_total{cipher=TLS_RSA_WITH_AES_128_GCM_SHA256,group=none,listener=egress,version=TLS 1.2} 1",
				"postern_deliveries_total{level=may,listener=egress,result=delivered,source=default,trust=anonymous} 1",
			},
		},
		"what enforce would have refused": {
			proxy.Delivery{Address: "192.0.2.1", Decision: may, Clear: "not_offered", Would: "secure: expected TLS", Code: 250},
			[]string{
				"postern_deliveries_clear_total{listener=egress,reason=not_offered} 1",
				"postern_deliveries_total{level=may,listener=egress,result=delivered,source=default,trust=clear} 1",
				"postern_deliveries_would_refuse_total{listener=egress} 1",
			},
		},
		"in clear, because STARTTLS was not offered": {
			proxy.Delivery{Address: "192.0.2.1", Decision: may, Clear: "not_offered", Code: 250, SMTP: time.Second},
			[]string{
				"postern_deliveries_clear_total{listener=egress,reason=not_offered} 1",
				"postern_deliveries_total{level=may,listener=egress,result=delivered,source=default,trust=clear} 1",
				"postern_delivery_phase_duration_seconds{phase=smtp} 1 of 1",
			},
		},
		"in clear, as the operator wishes": {
			proxy.Delivery{Address: "192.0.2.1", Decision: &policy.Decision{Level: level.None, Source: policy.SourceOperator}, Code: 554, Cause: proxy.CauseUpstreamReply},
			[]string{
				"postern_deliveries_clear_total{listener=egress,reason=level_none} 1",
				"postern_deliveries_total{level=none,listener=egress,result=refused,source=operator,trust=clear} 1",
				"postern_delivery_failures_total{cause=upstream_reply,listener=egress} 1",
			},
		},
		"no server was reached": {
			proxy.Delivery{Host: "mx.example.com", Decision: may, Code: 451, Cause: proxy.CauseDial},
			[]string{
				"postern_deliveries_total{level=may,listener=egress,result=deferred,source=default,trust=clear} 1",
				"postern_delivery_failures_total{cause=dial,listener=egress} 1",
			},
		},
		"no server was found": {
			proxy.Delivery{Code: 556, Cause: proxy.CauseNoDomain},
			[]string{
				"postern_deliveries_total{level=undecided,listener=egress,result=refused,source=undecided,trust=clear} 1",
				"postern_delivery_failures_total{cause=no_domain,listener=egress} 1",
			},
		},
		"the client was gone": {
			proxy.Delivery{Cause: proxy.CauseClientGone},
			[]string{
				"postern_deliveries_total{level=undecided,listener=egress,result=gone,source=undecided,trust=clear} 1",
				"postern_delivery_failures_total{cause=client_gone,listener=egress} 1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tel := start(t)
			tel.Delivery("egress", c.delivery)
			equalSeries(t, series(t, tel), c.want)
		})
	}
}

func TestNoPeerBecomesALabel(t *testing.T) {
	tel := start(t)
	tel.Delivery("egress", delivered)
	for _, one := range series(t, tel) {
		for _, secret := range []string{delivered.Destination, delivered.Address} {
			if strings.Contains(one, secret) {
				t.Errorf("%s is in %s", secret, one)
			}
		}
	}
}
