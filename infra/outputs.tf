output "runner" {
  description = "For --service-account, and service_account in a profile."
  value       = google_service_account.all["runner"].email
}

output "scheduler" {
  description = "The account for submit and schedule in CI."
  value       = google_service_account.all["scheduler"].email
}

output "builder" {
  description = "For gcloud builds submit --service-account."
  value       = google_service_account.all["builder"].email
}

output "pipeline_root" {
  description = "For --pipeline-root, and pipeline_root in a profile."
  value       = "gs://${google_storage_bucket.runs.name}/runs"
}

output "images" {
  description = "For make images IMAGE_REPOSITORY=, and _REPOSITORY of cloudbuild.yaml."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}
