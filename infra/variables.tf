variable "project" {
  description = "Id of an existing Google Cloud project with billing."
  type        = string
}

variable "region" {
  description = "Region of bucket, images and runs, such as us-central1. TensorBoard and training need one and the same."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket for data, weights and everything that runs write. Names are unique among all projects."
  type        = string
}

variable "operators" {
  description = "Who may submit, schedule, watch and cancel runs and build images, such as user:me@example.org."
  type        = set(string)
  default     = []
}

variable "dataflow" {
  description = "Whether runs may preprocess on Dataflow: two more roles for the runner."
  type        = bool
  default     = true
}

variable "alert_email" {
  description = "Address that is mailed when a run fails. Empty: no alert."
  type        = string
  default     = ""
}

variable "webhook_secret" {
  description = "Name of the secret that holds a webhook's address (--webhook-secret); the runner may read it. Empty: none."
  type        = string
  default     = ""
}

variable "billing_account" {
  description = "Id of the billing account, for a budget of the project that mails at 50 % and 90 %. Empty: no budget."
  type        = string
  default     = ""
}

variable "budget" {
  description = "Amount of the monthly budget, in the currency of the billing account."
  type        = number
  default     = 1000
}
