#!/usr/bin/env bash
# Makes what the job and the receiver need in a Google Cloud project. Run again, it makes what is missing and changes
# nothing else.
#
#   PROJECT=acme-web REGION=europe-west1 BUCKET=acme-web-segment templates/setup.sh
#
# The other names have defaults, below. You need roles/owner, or the rights to make these things and to grant roles.
# Where an organisation's policy forbids a step, the script ends with one line that says what to do.
set -euo pipefail
export CLOUDSDK_CORE_DISABLE_PROMPTS=1 # what is printed is kept until a command ends, and so would be a question

: "${PROJECT:?the id of the project}"
: "${REGION:?the region of the job, such as europe-west1}"
: "${BUCKET:?the name of a bucket, for the template, for staging and for files of calls}"
LOCATION=${LOCATION:-$REGION}        # of the dataset: a region, US or EU; it cannot be changed later
DATASET=${DATASET:-segment}
TOPIC=${TOPIC:-segment}
SUBSCRIPTION=${SUBSCRIPTION:-segment}
REPOSITORY=${REPOSITORY:-segment}    # of images
WORKER=${WORKER:-segment-worker}     # the service account of the job
BUILDER=${BUILDER:-segment-builder}  # the service account of Cloud Build, when it makes the image
RECEIVER=${RECEIVER-segment-receiver} # the service account of the receiver; RECEIVER= makes none
SECRETS=${SECRETS-}                  # names of the secrets that the receiver reads, such as "segment-api-key segment-write-key"
LAUNCHER=${LAUNCHER-}                # who is to build and launch, such as user:ann@acme.example or group:data@acme.example
# The network of the workers, as a launch has it: SUBNETWORK=regions/REGION/subnetworks/NAME, or NETWORK of auto mode.
NETWORK=${NETWORK-}
SUBNETWORK=${SUBNETWORK-}
# Segment's own account, which publishes: https://www.twilio.com/docs/segment/connections/destinations/catalog/google-cloud-pubsub
# PUBLISHER= lets nobody but the receiver publish; another member is let publish instead.
PUBLISHER=${PUBLISHER-serviceAccount:pubsub@segment-integrations.iam.gserviceaccount.com}
# Set to 1 to keep messages for 31 days after they were acknowledged, too, so that they can be delivered again. Pub/Sub
# bills what it keeps (https://cloud.google.com/pubsub/pricing#storage_costs): 5,000 messages a second of 1.7 kB are
# some 21 TiB, which is about 5,700 USD a month at 0.27 USD for a GiB and month (as of 2026).
KEEP_ACKNOWLEDGED=${KEEP_ACKNOWLEDGED-}

worker="$WORKER@$PROJECT.iam.gserviceaccount.com"
builder="$BUILDER@$PROJECT.iam.gserviceaccount.com"
receiver="$RECEIVER@$PROJECT.iam.gserviceaccount.com"
member="serviceAccount:$worker"

say() { echo "templates/setup.sh: $*" >&2; }

# remedy OUTPUT: what to do about the organisation's policy that the output of a command names; nothing where it names
# none. What each says: https://cloud.google.com/resource-manager/docs/organization-policy/org-policy-constraints
remedy() {
    local ask="ask an organisation policy administrator (roles/orgpolicy.policyAdmin)"
    case $1 in
    # Set by default in every organisation made since May 2024. What is bound while it is lifted stays bound:
    # https://cloud.google.com/resource-manager/docs/organization-policy/domain-restricted-sharing
    *"belong to a permitted customer"* | *"in permitted organization"* | *iam.*allowedPolicyMember*)
        echo "the organisation admits no members from outside (iam.allowedPolicyMemberDomains): $ask to lift that for this" \
            "project, run this again, and have it put back; or set PUBLISHER to a member of your own, or to nothing" ;;
    *gcp.resourceLocations* | *LOCATION_POLICY_VIOLATED*)
        echo "the organisation allows other places only (gcp.resourceLocations): set REGION and LOCATION to one that it" \
            "allows, or $ask for this one" ;;
    *iam.disableServiceAccountCreation*)
        echo "the organisation lets no service accounts be made (iam.disableServiceAccountCreation): have somebody who" \
            "may make $WORKER, $BUILDER${RECEIVER:+ and $RECEIVER}, and run this again" ;;
    *constraints/* | *"Organization Policy"*)
        echo "an organisation policy forbids it: $ask for an exception for project $PROJECT, and run this again:" \
            "$(tr -s '[:space:]' ' ' <<<"$1")" ;;
    esac
}

# run COMMAND: runs it, and says nothing unless it fails. An account or service that was made a moment ago is not known
# everywhere at once (https://cloud.google.com/iam/docs/access-change-propagation): then it is tried for two minutes.
run() {
    local output advice attempt
    for attempt in {1..24}; do
        output=$("$@" 2>&1 </dev/null) && return
        case $output in
        *"does not exist"* | *"has not been used in project"* | *SERVICE_DISABLED*) ;;
        *) break ;;
        esac
        ((attempt == 24)) || sleep "${PAUSE:-5}"
    done
    advice=$(remedy "$output")
    if [[ $advice ]]; then
        say "$1 $2 $3 $4: $advice"
    else
        echo "$output" >&2
        say "failed: $*"
    fi
    exit 1
}

# make describe-command -- create-command: makes what cannot be described.
make() {
    local describe=() word
    for word in "$@"; do
        shift
        [[ $word == -- ]] && break
        describe+=("$word")
    done
    "${describe[@]}" >/dev/null 2>&1 </dev/null || run "$@"
}

run gcloud services enable --project="$PROJECT" \
    artifactregistry.googleapis.com bigquery.googleapis.com bigquerystorage.googleapis.com cloudbuild.googleapis.com \
    compute.googleapis.com dataflow.googleapis.com iam.googleapis.com logging.googleapis.com monitoring.googleapis.com \
    pubsub.googleapis.com storage.googleapis.com
[[ ! $RECEIVER ]] || run gcloud services enable --project="$PROJECT" run.googleapis.com secretmanager.googleapis.com

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

# What nobody has read is kept for 31 days (the default is 7), so that a job can be stopped for as long, and billed from
# the second day on; what was read is gone (https://cloud.google.com/pubsub/docs/subscription-properties). The
# subscription never expires for want of a reader. No ordering, no exactly-once delivery, no dead-letter topic: the job
# does without, and Dataflow advises against them.
keep=()
if [[ $KEEP_ACKNOWLEDGED ]]; then
    keep=(--retain-acked-messages)
    say "messages are kept for 31 days after they were acknowledged, too, and billed: at 5,000 a second of 1.7 kB some" \
        "21 TiB, about 5,700 USD a month"
fi
make gcloud pubsub subscriptions describe "$SUBSCRIPTION" --project="$PROJECT" -- \
    gcloud pubsub subscriptions create "$SUBSCRIPTION" --project="$PROJECT" --topic="$TOPIC" \
    --ack-deadline=600 --message-retention-duration=31d --expiration-period=never ${keep[@]+"${keep[@]}"}

# Earlier releases made it so, and an existing subscription stays as it is.
if [[ ! $KEEP_ACKNOWLEDGED && $(gcloud pubsub subscriptions describe "$SUBSCRIPTION" --project="$PROJECT" \
    --format='value(retainAckedMessages)' 2>/dev/null) == True ]]; then
    say "subscription $SUBSCRIPTION keeps messages that were acknowledged, which is billed: to end that, run gcloud pubsub" \
        "subscriptions update $SUBSCRIPTION --project=$PROJECT --no-retain-acked-messages"
fi

make gcloud iam service-accounts describe "$worker" --project="$PROJECT" -- \
    gcloud iam service-accounts create "$WORKER" --project="$PROJECT" --display-name="Segment calls to BigQuery"

make gcloud iam service-accounts describe "$builder" --project="$PROJECT" -- \
    gcloud iam service-accounts create "$BUILDER" --project="$PROJECT" --display-name="Builds of segment-bigquery"

# A secret is made without a value: `gcloud secrets versions add` gives it one (docs/receiver.md). It is kept in REGION
# alone, which an organisation that allows few places allows, too.
secrets=()
if [[ $RECEIVER ]]; then
    read -ra secrets <<<"$SECRETS"
    make gcloud iam service-accounts describe "$receiver" --project="$PROJECT" -- \
        gcloud iam service-accounts create "$RECEIVER" --project="$PROJECT" --display-name="Receiver of Segment calls"
fi
for secret in ${secrets[@]+"${secrets[@]}"}; do
    make gcloud secrets describe "$secret" --project="$PROJECT" -- \
        gcloud secrets create "$secret" --project="$PROJECT" --replication-policy=user-managed --locations="$REGION"
done

# ---- who may do what: each role on the smallest thing that it can be given on ----

in_project() { # in_project MEMBER ROLE...
    local role
    for role in "${@:2}"; do
        run gcloud projects add-iam-policy-binding "$PROJECT" --member="$1" --role="roles/$role" --condition=None \
            --format=none
    done
}
on_bucket() { # on_bucket MEMBER ROLE...
    local role
    for role in "${@:2}"; do
        run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="$1" --role="roles/$role" --format=none
    done
}
on_images() { # on_images MEMBER ROLE
    run gcloud artifacts repositories add-iam-policy-binding "$REPOSITORY" --location="$REGION" --project="$PROJECT" \
        --member="$1" --role="roles/$2" --format=none
}

# The job's: https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates#permissions lists the
# worker, the objects of the bucket, the image, and roles/viewer, in whose place stands dataflow.viewer, to look up the
# job that an update replaces. To run BigQuery's jobs and to read the log in parallel there are the last two.
in_project "$member" dataflow.worker dataflow.viewer bigquery.jobUser bigquery.readSessionUser
on_bucket "$member" storage.objectAdmin storage.legacyBucketReader
on_images "$member" artifactregistry.reader
for role in pubsub.subscriber pubsub.viewer; do
    run gcloud pubsub subscriptions add-iam-policy-binding "$SUBSCRIPTION" --project="$PROJECT" --member="$member" \
        --role="roles/$role" --format=none
done
run bq --project_id="$PROJECT" query --location="$LOCATION" --use_legacy_sql=false \
    "GRANT \`roles/bigquery.dataEditor\` ON SCHEMA \`$PROJECT\`.\`$DATASET\` TO \"$member\""

# Cloud Build's: in projects made since 2024 its default account may do nothing
# (https://cloud.google.com/build/docs/cloud-build-service-account-updates). The first role has all that a build does.
# The others are what a build by an account of its own is said to need, for whoever takes the first away:
# https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts
in_project "serviceAccount:$builder" cloudbuild.builds.builder logging.logWriter
on_images "serviceAccount:$builder" artifactregistry.writer
on_bucket "serviceAccount:$builder" storage.objectViewer

# The receiver's: it publishes to the topic, and reads its secrets. It looks nothing up, and reads no message back; Cloud
# Run fetches the image and takes the logs by an account of its own.
if [[ $RECEIVER ]]; then
    run gcloud pubsub topics add-iam-policy-binding "$TOPIC" --project="$PROJECT" --member="serviceAccount:$receiver" \
        --role=roles/pubsub.publisher --format=none
fi
for secret in ${secrets[@]+"${secrets[@]}"}; do
    run gcloud secrets add-iam-policy-binding "$secret" --project="$PROJECT" --member="serviceAccount:$receiver" \
        --role=roles/secretmanager.secretAccessor --format=none
done

# Who builds and launches: starts builds and jobs, reads their logs, and lets both run as their accounts.
# https://cloud.google.com/build/docs/securing-builds/configure-access-to-resources has the third. run.admin in place of
# run.developer: the receiver's service is one that anybody may call, and to say so is to set its policy.
if [[ $LAUNCHER ]]; then
    in_project "$LAUNCHER" dataflow.developer cloudbuild.builds.editor serviceusage.serviceUsageConsumer logging.viewer
    on_bucket "$LAUNCHER" storage.objectAdmin storage.legacyBucketReader
    [[ ! $RECEIVER ]] || in_project "$LAUNCHER" run.admin
    for account in "$worker" "$builder" ${RECEIVER:+"$receiver"}; do
        run gcloud iam service-accounts add-iam-policy-binding "$account" --project="$PROJECT" --member="$LAUNCHER" \
            --role=roles/iam.serviceAccountUser --format=none
    done
fi

# ---- what a launch will find ----

# https://cloud.google.com/dataflow/docs/guides/specifying-networks ; new projects of many organisations have no network
# named default (compute.skipDefaultNetworkCreation).
if [[ $SUBNETWORK ]]; then
    private=$(gcloud compute networks subnets describe "${SUBNETWORK##*/}" --region="$REGION" --project="$PROJECT" \
        --format='value(privateIpGoogleAccess)' 2>/dev/null) || private=unknown
    [[ $private != False ]] || say "workers without public addresses reach no Google service from ${SUBNETWORK##*/}: run" \
        "gcloud compute networks subnets update ${SUBNETWORK##*/} --region=$REGION --enable-private-ip-google-access"
elif ! gcloud compute networks describe "${NETWORK:-default}" --project="$PROJECT" --format=none >/dev/null 2>&1; then
    say "there is no network ${NETWORK:-default} to launch in: launch with SUBNETWORK=regions/$REGION/subnetworks/NAME"
fi
# Told only where the policy can be read, which needs orgpolicy.policy.get.
addresses=$(gcloud resource-manager org-policies describe compute.vmExternalIpAccess --project="$PROJECT" --effective \
    --format='value(listPolicy.allValues)' 2>/dev/null) || addresses=unknown
[[ $addresses != DENY ]] || say "the organisation gives machines no public addresses (compute.vmExternalIpAccess):" \
    "launch with OPTIONS=--disable-public-ips, in a subnetwork with Private Google Access"

# ---- who may publish: last, since the organisation may forbid it, and all else works without ----

if [[ $PUBLISHER ]]; then
    run gcloud pubsub topics add-iam-policy-binding "$TOPIC" --project="$PROJECT" --member="$PUBLISHER" \
        --role=roles/pubsub.publisher --format=none
fi
