# What docs/vertex.md, section 1, sets up by gcloud commands. tests/test_infra.py keeps the two equal.

locals {
  services = [
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ]
}

resource "google_project_service" "all" {
  for_each = toset(local.services)

  project            = var.project
  service            = each.key
  disable_on_destroy = false # others in the project may use it
}

resource "google_storage_bucket" "runs" {
  project                     = var.project
  name                        = var.bucket
  location                    = var.region
  uniform_bucket_level_access = true

  depends_on = [google_project_service.all]
}

resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.region
  repository_id = "centernet"
  format        = "DOCKER"

  depends_on = [google_project_service.all]
}
