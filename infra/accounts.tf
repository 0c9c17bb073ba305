# Three accounts: the runner is what the steps act as, the scheduler submits and schedules runs from elsewhere, such as
# CI, and the builder builds images. Runs that a schedule starts act as the runner too.

locals {
  accounts = {
    runner    = "Steps of CenterNet runs"
    scheduler = "Submits and schedules CenterNet runs"
    builder   = "Builds CenterNet's images"
  }

  # On the project.
  project_roles = {
    runner = concat(
      ["roles/aiplatform.user", "roles/artifactregistry.reader", "roles/logging.logWriter"],
      var.dataflow ? ["roles/dataflow.developer", "roles/dataflow.worker"] : [],
    )
    scheduler = ["roles/aiplatform.user", "roles/logging.viewer"]
    builder   = ["roles/cloudbuild.builds.builder", "roles/logging.logWriter"]
    operator  = ["roles/aiplatform.user", "roles/cloudbuild.builds.editor", "roles/logging.viewer"]
  }

  # On the bucket.
  bucket_roles = {
    runner    = "roles/storage.objectUser"
    scheduler = "roles/storage.objectViewer"
    operator  = "roles/storage.objectUser"
  }

  # Which accounts who may act as. A step of the runner's starts a custom job or a Dataflow job that acts as the runner.
  acts_as = {
    runner    = ["runner"]
    scheduler = ["runner"]
    operator  = ["runner", "builder"]
  }

  # Not the accounts' own attributes, which are unknown before they exist: for_each needs known keys.
  members = merge(
    { for name, text in local.accounts : name => "serviceAccount:centernet-${name}@${var.project}.iam.gserviceaccount.com" },
    { for operator in var.operators : "operator ${operator}" => operator },
  )
  kinds = { for name, member in local.members : name => split(" ", name)[0] }

  project_bindings = flatten([
    for name, member in local.members : [
      for role in local.project_roles[local.kinds[name]] : { key = "${name} ${role}", member = member, role = role }
    ]
  ])
  bucket_bindings = [
    for name, member in local.members : { key = name, member = member, role = local.bucket_roles[local.kinds[name]] }
    if contains(keys(local.bucket_roles), local.kinds[name])
  ]
  account_bindings = flatten([
    for name, member in local.members : [
      for account in lookup(local.acts_as, local.kinds[name], []) : { key = "${name} ${account}", member = member, account = account }
    ]
  ])
}

resource "google_service_account" "all" {
  for_each = local.accounts

  project      = var.project
  account_id   = "centernet-${each.key}"
  display_name = each.value

  depends_on = [google_project_service.all]
}

resource "google_project_iam_member" "all" {
  for_each = { for binding in local.project_bindings : binding.key => binding }

  project = var.project
  role    = each.value.role
  member  = each.value.member

  depends_on = [google_service_account.all]
}

resource "google_storage_bucket_iam_member" "all" {
  for_each = { for binding in local.bucket_bindings : binding.key => binding }

  bucket = google_storage_bucket.runs.name
  role   = each.value.role
  member = each.value.member

  depends_on = [google_service_account.all]
}

resource "google_service_account_iam_member" "all" {
  for_each = { for binding in local.account_bindings : binding.key => binding }

  service_account_id = google_service_account.all[each.value.account].name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value.member

  depends_on = [google_service_account.all]
}
