//! Prometheus' text form of the status.

use std::fmt::Write;

use serde_json::Value;

/// Metrics from what `status` says.
pub(super) fn render(status: &Value) -> String {
    let mut out = String::new();
    let empty = Vec::new();
    let instances = status["instances"].as_array().unwrap_or(&empty);
    let mut gauge = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Value) -> f64| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP hapair_{name} {help}\n# TYPE hapair_{name} {kind}");
        for i in instances {
            let label = i["name"]
                .as_str()
                .unwrap_or_default()
                .replace('\\', "\\\\")
                .replace('"', "\\\"");
            let _ = writeln!(out, "hapair_{name}{{instance=\"{label}\"}} {}", value(i));
        }
    };
    gauge("master", "gauge", "1 while this host owns the VIPs", &|i| {
        f64::from(i["state"] == "MASTER")
    });
    gauge("fault", "gauge", "1 while the instance may not take part", &|i| {
        f64::from(i["state"] == "FAULT")
    });
    gauge("priority", "gauge", "effective priority", &|i| {
        i["priority"].as_f64().unwrap_or(0.0)
    });
    gauge(
        "held",
        "gauge",
        "1 while it does not take over from a living owner",
        &|i| f64::from(i["held"] == true),
    );
    for name in [
        "received",
        "sent",
        "ignored",
        "auth_failures",
        "checksum_errors",
        "became_master",
        "left_master",
    ] {
        let help = format!("statistics.{name} of the status");
        gauge(&format!("{name}_total"), "counter", &help, &|i| {
            i["statistics"][name].as_f64().unwrap_or(0.0)
        });
    }
    let lag = status["worst_timer_lag_seconds"].as_f64().unwrap_or(0.0);
    let _ = writeln!(
        out,
        "# HELP hapair_worst_timer_lag_seconds latest timer since start\n# TYPE hapair_worst_timer_lag_seconds gauge"
    );
    let _ = writeln!(out, "hapair_worst_timer_lag_seconds {lag}");
    out
}
