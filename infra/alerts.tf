# Mail when a run fails, and for runaway cost.

locals {
  pipeline_job = "resource.type=\"aiplatform.googleapis.com/PipelineJob\""
}

resource "google_logging_metric" "failed" {
  count = var.alert_email == "" ? 0 : 1

  project     = var.project
  name        = "centernet-failed"
  description = "CenterNet pipeline failed"
  filter      = "${local.pipeline_job} AND jsonPayload.state=\"PIPELINE_STATE_FAILED\""

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_notification_channel" "owner" {
  count = var.alert_email == "" ? 0 : 1

  project      = var.project
  display_name = "CenterNet owner"
  type         = "email"
  labels       = { email_address = var.alert_email }
}

resource "google_monitoring_alert_policy" "failed" {
  count = var.alert_email == "" ? 0 : 1

  project               = var.project
  display_name          = "CenterNet pipeline failed"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.owner[0].id]

  conditions {
    display_name = "failed"

    condition_threshold {
      filter          = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.failed[0].name}\" AND ${local.pipeline_job}"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_DELTA"
      }
    }
  }
}

resource "google_billing_budget" "project" {
  count = var.billing_account == "" ? 0 : 1

  billing_account = var.billing_account
  display_name    = "centernet"

  budget_filter {
    projects = ["projects/${var.project}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 0.9
  }
}

# The secret itself, with the address, is made by hand: Terraform would keep the address in its state.
resource "google_secret_manager_secret_iam_member" "webhook" {
  count = var.webhook_secret == "" ? 0 : 1

  project   = var.project
  secret_id = var.webhook_secret
  role      = "roles/secretmanager.secretAccessor"
  member    = local.members["runner"]

  depends_on = [google_service_account.all]
}
