#!/usr/bin/env bash
# Makes what the job needs in a Google Cloud project. Run again, it makes what is missing and changes nothing else.
#
#   PROJECT=acme-web REGION=europe-west1 BUCKET=acme-web-segment templates/setup.sh
#
# The other names have defaults, below. You need roles/owner, or the rights to make these things and to grant roles.
set -euo pipefail

: "${PROJECT:?the id of the project}"
: "${REGION:?the region of the job, such as europe-west1}"
: "${BUCKET:?the name of a bucket, for the template, for staging and for files of calls}"
LOCATION=${LOCATION:-$REGION}        # of the dataset: a region, US or EU; it cannot be changed later
DATASET=${DATASET:-segment}
TOPIC=${TOPIC:-segment}
SUBSCRIPTION=${SUBSCRIPTION:-segment}
REPOSITORY=${REPOSITORY:-segment}    # of images
WORKER=${WORKER:-segment-worker}     # the service account of the job
# Segment's own account, which publishes: https://www.twilio.com/docs/segment/connections/destinations/catalog/google-cloud-pubsub
PUBLISHER=${PUBLISHER:-serviceAccount:pubsub@segment-integrations.iam.gserviceaccount.com}

worker="$WORKER@$PROJECT.iam.gserviceaccount.com"
member="serviceAccount:$worker"

# make describe-command -- create-command: makes what cannot be described.
make() {
    local describe=() word
    for word in "$@"; do
        shift
        [[ $word == -- ]] && break
        describe+=("$word")
    done
    "${describe[@]}" >/dev/null 2>&1 || "$@"
}

gcloud services enable --project="$PROJECT" \
    artifactregistry.googleapis.com bigquery.googleapis.com cloudbuild.googleapis.com compute.googleapis.com \
    dataflow.googleapis.com monitoring.googleapis.com pubsub.googleapis.com storage.googleapis.com

# ---- where things are ----

make gcloud artifacts repositories describe "$REPOSITORY" --location="$REGION" --project="$PROJECT" -- \
    gcloud artifacts repositories create "$REPOSITORY" --location="$REGION" --project="$PROJECT" \
    --repository-format=docker

# Without soft delete: what is staged is not worth keeping, and would be billed.
make gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" -- \
    gcloud storage buckets create "gs://$BUCKET" --location="$REGION" --project="$PROJECT" \
    --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0s

make bq show --dataset "$PROJECT:$DATASET" -- \
    bq --location="$LOCATION" mk --dataset --force --description="Segment calls, contacts and accounts" "$PROJECT:$DATASET"

make gcloud pubsub topics describe "$TOPIC" --project="$PROJECT" -- \
    gcloud pubsub topics create "$TOPIC" --project="$PROJECT"

# Kept for 31 days, acknowledged or not, so that a job can be stopped for as long and messages be read again; never
# expired for want of a reader. No ordering, no exactly-once delivery, no dead-letter topic: the job does without, and
# Dataflow advises against them.
make gcloud pubsub subscriptions describe "$SUBSCRIPTION" --project="$PROJECT" -- \
    gcloud pubsub subscriptions create "$SUBSCRIPTION" --project="$PROJECT" --topic="$TOPIC" \
    --ack-deadline=600 --message-retention-duration=31d --retain-acked-messages --expiration-period=never

# ---- who may do what: each role on the smallest thing that it can be given on ----

make gcloud iam service-accounts describe "$worker" --project="$PROJECT" -- \
    gcloud iam service-accounts create "$WORKER" --project="$PROJECT" --display-name="Segment calls to BigQuery"

# To be a worker; to look up the job that an update replaces; to run BigQuery's jobs and read the log in parallel.
for role in dataflow.worker dataflow.viewer bigquery.jobUser bigquery.readSessionUser; do
    gcloud projects add-iam-policy-binding "$PROJECT" --member="$member" --role="roles/$role" --condition=None \
        --format=none
done

for role in pubsub.subscriber pubsub.viewer; do
    gcloud pubsub subscriptions add-iam-policy-binding "$SUBSCRIPTION" --project="$PROJECT" --member="$member" \
        --role="roles/$role" --format=none
done

for role in storage.objectUser storage.legacyBucketReader; do
    gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="$member" --role="roles/$role" --format=none
done

gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" --location="$REGION" --project="$PROJECT" \
    --member="$member" --role=roles/artifactregistry.reader --format=none

bq --project_id="$PROJECT" query --location="$LOCATION" --use_legacy_sql=false \
    "GRANT \`roles/bigquery.dataEditor\` ON SCHEMA \`$PROJECT\`.\`$DATASET\` TO \"$member\""

gcloud pubsub topics add-iam-policy-binding "$TOPIC" --project="$PROJECT" --member="$PUBLISHER" \
    --role=roles/pubsub.publisher --format=none
