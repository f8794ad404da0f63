#!/usr/bin/env bash
# Tries the job on a real project for an hour, and prints what Google's services answer, word for word: what
# docs/unproven.md lists, which nothing else here can tell. Each answer ends with the place in the double where it belongs.
#
#   PROJECT=acme-web REGION=europe-west1 templates/first_hour.sh [--keep]
#
# It makes a bucket, a dataset, a topic, a subscription, an image repository, two secrets, a service on Cloud Run and three
# service accounts, all with names of their own, and removes them at its end, also when it is interrupted; --keep leaves
# them. It refuses to run where one of them exists already. One job of one or two small workers runs for most of the hour:
# some tens of cents, by the prices of 2026. You need roles/owner, `gcloud auth login`, `gcloud auth application-default login`, and .venv (make gcp).
set -euo pipefail
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

: "${PROJECT:?the id of the project}"
: "${REGION:?the region of the job, such as europe-west1}"
NAME=segment-first-hour
BUCKET=${BUCKET:-$PROJECT-first-hour}
DATASET=${DATASET:-segment_first_hour}
RATE=${RATE:-500}                   # messages a second, in the step that appends many
MINUTES=${MINUTES:-10}              # how long they are published
PAUSE=${PAUSE:-10}                  # between two looks at what is waited for
PATIENCE=${PATIENCE:-1200}          # how long it is waited for
PYTHON=${PYTHON:-.venv/bin/python}
LAUNCH_OPTIONS=${LAUNCH_OPTIONS-}   # such as "--subnetwork=regions/europe-west1/subnetworks/own --disable-public-ips"
export PROJECT REGION BUCKET DATASET
export LOCATION=${LOCATION:-$REGION} TOPIC=$NAME SUBSCRIPTION=$NAME REPOSITORY=$NAME WORKER=$NAME BUILDER=$NAME-build
export PUBLISHER='' LAUNCHER='' KEEP_ACKNOWLEDGED='' RECEIVER=$NAME-receive SECRETS="$NAME-key $NAME-connections"

worker="$WORKER@$PROJECT.iam.gserviceaccount.com"
builder="$BUILDER@$PROJECT.iam.gserviceaccount.com"
receiver="$RECEIVER@$PROJECT.iam.gserviceaccount.com"
warehouse="bigquery://$PROJECT/$DATASET"
table="\`$PROJECT\`.\`$DATASET\`"
folder=$(mktemp -d)
keep=
[[ ${1-} != --keep ]] || keep=1

stop() { echo "templates/first_hour.sh: $*" >&2; exit 2; }
step() { printf '\n==== %s  (%s s)\n' "$1" "$SECONDS"; }
belongs() { echo "   belongs in: $*"; }

# ask SQL: the rows of the answer, as CSV with a header.
ask() { bq --project_id="$PROJECT" --location="$LOCATION" --format=csv query --use_legacy_sql=false --max_rows=100 "$1" || true; }

# number SQL: the one number of the answer; 0 where there is none.
number() { ask "$1" | tail -n 1 | grep -E '^[0-9]+$' || echo 0; }

# wait_for WHAT COMMAND...: runs the command until it prints something other than 0, and says how long that took.
wait_for() {
    local what=$1 from=$SECONDS printed
    shift
    while true; do
        printed=$("$@" 2>/dev/null) || printed=
        if [[ $printed && $printed != 0 ]]; then
            echo "   $what: after $((SECONDS - from)) s"
            return
        fi
        if ((SECONDS - from >= PATIENCE)); then
            echo "   $what: NOT within $PATIENCE s"
            return 1
        fi
        sleep "$PAUSE"
    done
}

# in_state JOB STATE: the id of the job once it is in that state.
in_state() {
    gcloud dataflow jobs list --project="$PROJECT" --region="$REGION" --filter="id=$1 AND state=$2" --format='value(id)'
}

# launch OPTION...: starts the streaming job, whose id is in $job afterwards, and waits until it runs.
launch() {
    local options=()
    [[ ! $LAUNCH_OPTIONS ]] || read -ra options <<<"$LAUNCH_OPTIONS"
    job=$(gcloud dataflow flex-template run "$NAME" --template-file-gcs-location="$template" \
        --project="$PROJECT" --region="$REGION" --service-account-email="$worker" \
        --staging-location="gs://$BUCKET/staging" --temp-location="gs://$BUCKET/temp" \
        --worker-machine-type=n2-standard-2 --max-workers=2 --additional-user-labels=app=segment-first-hour \
        --parameters="input_subscription=projects/$PROJECT/subscriptions/$SUBSCRIPTION,warehouse=$warehouse" \
        --format='value(job.id)' ${options[@]+"${options[@]}"} "$@")
    echo "   job $job"
    wait_for "it runs" in_state "$job" Running || { failures; stop "the job does not run: its log is above"; }
}

# failures: what the launcher and the workers complained of, newest last.
failures() {
    gcloud logging read "resource.type=dataflow_step AND resource.labels.job_name=$NAME AND severity>=ERROR" \
        --project="$PROJECT" --limit=20 --order=asc --freshness=2h --format='value(timestamp,textPayload,jsonPayload.message)' || true
}

# publish FILE OPTION...: the lines of a file, a message each.
publish() { "$PYTHON" -m examples.publish --topic="projects/$PROJECT/topics/$TOPIC" --input="$1" "${@:2}"; }

# received NUMBER: sends the receiver a call, and prints its status and how many seconds its answer took. Cloud Run lets
# nobody but the owner in, by a header of its own, so that the receiver's is free for the write key.
received() {
    curl -s -o /dev/null -w '%{http_code} %{time_total}\n' -H "X-Serverless-Authorization: Bearer $token" -u "$key:" \
        -d "{\"userId\": \"a\", \"event\": \"Received\", \"messageId\": \"hour-received-$1\"}" "$url/v1/track" || true
}

# deploy OPTION...: the receiver, as its own account, for nobody but the owner.
deploy() {
    make receiver-deploy PROJECT="$PROJECT" REGION="$REGION" BUCKET="$BUCKET" REPOSITORY="$REPOSITORY" SERVICE="$NAME" \
        TOPIC="$TOPIC" RECEIVER="$receiver" CONNECTIONS="$NAME-connections:latest" SECRETS="WRITE_KEY=$NAME-key:1" \
        ACCESS=--no-allow-unauthenticated "$@"
}

clean() {
    local status=$? role id secret
    rm -rf "$folder"
    if [[ $keep ]]; then
        step "kept, as you asked: jobs named $NAME, and what is named $NAME, $BUCKET and $DATASET"
        return
    fi
    step "removing what was made"
    set +e
    for id in $(gcloud dataflow jobs list --project="$PROJECT" --region="$REGION" --filter="name=$NAME" --status=active --format='value(id)'); do
        gcloud dataflow jobs cancel "$id" --project="$PROJECT" --region="$REGION"
    done
    gcloud run services delete "$NAME" --project="$PROJECT" --region="$REGION" --quiet
    for secret in $SECRETS; do
        gcloud secrets delete "$secret" --project="$PROJECT" --quiet
    done
    gcloud pubsub subscriptions delete "$SUBSCRIPTION" --project="$PROJECT" --quiet
    gcloud pubsub topics delete "$TOPIC" --project="$PROJECT" --quiet
    bq --project_id="$PROJECT" rm -r -f --dataset "$PROJECT:$DATASET"
    gcloud storage rm --recursive "gs://$BUCKET" --project="$PROJECT" --quiet
    gcloud artifacts repositories delete "$REPOSITORY" --location="$REGION" --project="$PROJECT" --quiet
    for role in dataflow.worker dataflow.viewer bigquery.jobUser bigquery.readSessionUser; do
        gcloud projects remove-iam-policy-binding "$PROJECT" --member="serviceAccount:$worker" --role="roles/$role" --condition=None --format=none
    done
    for role in cloudbuild.builds.builder logging.logWriter; do
        gcloud projects remove-iam-policy-binding "$PROJECT" --member="serviceAccount:$builder" --role="roles/$role" --condition=None --format=none
    done
    for id in "$worker" "$builder" "$receiver"; do
        gcloud iam service-accounts delete "$id" --project="$PROJECT" --quiet
    done
    exit "$status"
}

# ---- before anything is made ----

[[ -f templates/setup.sh ]] || stop "start it from the root of the repository"
command -v "$PYTHON" >/dev/null || stop "there is no $PYTHON: run make gcp first"
gcloud auth application-default print-access-token --quiet >/dev/null 2>&1 ||
    stop "there are no credentials for Python: run gcloud auth application-default login"
! bq show --dataset "$PROJECT:$DATASET" >/dev/null 2>&1 </dev/null ||
    stop "dataset $PROJECT:$DATASET exists: set DATASET to one that does not, or remove it: bq rm -r -d $PROJECT:$DATASET"
! gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" --format=none >/dev/null 2>&1 ||
    stop "bucket $BUCKET exists: set BUCKET to one that does not"
! gcloud pubsub topics describe "$TOPIC" --project="$PROJECT" --format=none >/dev/null 2>&1 ||
    stop "topic $TOPIC exists: another run, or what it left; remove it: gcloud pubsub topics delete $TOPIC --project=$PROJECT"
trap clean EXIT
trap 'exit 130' INT TERM

step "1. setup: resources, accounts, roles"
templates/setup.sh

step "2. append probe: what the Storage Write API answers to single rows"
"$PYTHON" -m templates.append_probe --warehouse="$warehouse"

step "3. expiration: a dataset that gives new tables and partitions 60 days"
bq --project_id="$PROJECT" update --default_table_expiration=5184000 --default_partition_expiration=5184000 --dataset "$PROJECT:$DATASET"
"$PYTHON" -m schemas create --warehouse="$warehouse"
ask "SELECT table_name, option_name, option_value FROM $table.INFORMATION_SCHEMA.TABLE_OPTIONS WHERE option_name IN ('expiration_timestamp', 'partition_expiration_days') ORDER BY table_name"
echo "   (a table or view that is named above expires; none should be)"
belongs tests/bigquery_double/tables.py

step "4. build: the image by Cloud Build, as its own account, and the template"
version=$(git describe --always --dirty)
template="gs://$BUCKET/templates/segment-bigquery-$version.json"
make template PROJECT="$PROJECT" REGION="$REGION" BUCKET="$BUCKET" REPOSITORY="$REPOSITORY" BUILDER="$builder" BUILD_REGION="${BUILD_REGION:-$REGION}"

step "5. launch: from nothing to a job that runs, as its own account, with the least roles"
launch
wait_for "its line in jobs" number "SELECT COUNT(*) AS jobs FROM $table.jobs"

step "6. rows: one message each for numbers and days of interest"
year=$(date -u +%Y) month=$(date -u +%m)
{
    echo '{"type": "track", "event": "Number", "userId": "a", "messageId": "hour-number-1", "properties": {"value": 67.174118}}'
    echo '{"type": "track", "event": "Number", "userId": "a", "messageId": "hour-number-2", "properties": {"value": 1760509016.282637}}'
    echo '{"type": "identify", "userId": "a", "messageId": "hour-number-3", "traits": {"latitude": 67.174118, "seen": 1760509016.282637}}'
    for distance in -6 -11 2; do
        when="$((year + distance))-$month-01T00:00:00Z"
        echo "{\"type\": \"track\", \"event\": \"Day\", \"userId\": \"a\", \"messageId\": \"hour-year$distance\", \"timestamp\": \"$when\", \"receivedAt\": \"$when\"}"
    done
} >"$folder/rows.jsonl"
publish "$folder/rows.jsonl"
wait_for "the first event in its table" number "SELECT COUNT(*) AS events FROM $table.events WHERE message_id LIKE 'hour-%'"
wait_for "six of six" number "SELECT IF((SELECT COUNT(DISTINCT message_id) FROM $table.events WHERE message_id LIKE 'hour-%') + (SELECT COUNT(DISTINCT message_id) FROM $table.identity_calls WHERE message_id LIKE 'hour-%') + (SELECT COUNT(*) FROM $table.dead_letters) >= 6, 1, 0) AS through" || true
ask "SELECT message_id, received_at, TO_JSON_STRING(properties) AS properties FROM $table.events WHERE message_id LIKE 'hour-%' ORDER BY message_id"
ask "SELECT message_id, received_at, TO_JSON_STRING(traits) AS traits FROM $table.identity_calls WHERE message_id LIKE 'hour-%'"
ask "SELECT stage, reason, detail, SAFE_CONVERT_BYTES_TO_STRING(payload) AS payload FROM $table.dead_letters ORDER BY failed_at"
belongs tests/bigquery_double/json_values.py for numbers, tests/bigquery_double/tables.py for days

step "7. load: $RATE messages a second for $MINUTES minutes, appends counted against rows"
calls=$((RATE * 60 * MINUTES))
"$PYTHON" -m examples.generate --calls="$calls" --seed=60 --output="$folder/calls.jsonl"
began=$(date -u +%Y-%m-%dT%H:%M:%SZ)
publish "$folder/calls.jsonl" --rate="$RATE"
before=-1 events=0
until [[ $events == "$before" ]]; do # until two looks see the same
    before=$events
    sleep $((PAUSE * 3))
    events=$(number "SELECT COUNT(*) AS events FROM $table.events")
done
ask "SELECT COUNT(*) AS events, COUNT(DISTINCT message_id) AS messages, COUNT(*) - COUNT(DISTINCT message_id) AS repeated FROM $table.events"
ask "SELECT table_id, stream_type, error_code, SUM(total_requests) AS requests, SUM(total_rows) AS row_count, ROUND(SUM(total_rows) / SUM(total_requests), 1) AS rows_a_request, SUM(total_input_bytes) AS bytes FROM \`$PROJECT\`.\`region-$(tr '[:upper:]' '[:lower:]' <<<"$LOCATION")\`.INFORMATION_SCHEMA.WRITE_API_TIMELINE WHERE dataset_id = '$DATASET' AND start_timestamp >= TIMESTAMP_TRUNC(TIMESTAMP '$began', MINUTE) GROUP BY table_id, stream_type, error_code ORDER BY requests DESC"
gcloud beta dataflow metrics list "$job" --project="$PROJECT" --region="$REGION" --source=user --format='table(name.name,name.context.step,scalar,distribution)'
belongs tests/bigquery_double/write_api.py for error codes, and the rows a request in docs/dataflow.md

step "8. alerts: does Cloud Monitoring take the policies, now that the metrics exist?"
for policy in templates/alerts/*.yaml; do
    echo "   $policy"
    if made=$(gcloud alpha monitoring policies create --project="$PROJECT" --policy-from-file="$policy" --format='value(name)'); then
        gcloud alpha monitoring policies delete "$made" --project="$PROJECT" --quiet
    fi
done

step "9. update: the same version takes over the state of the running job"
old=$job
launch --update
wait_for "the one before is replaced" in_state "$old" Updated || true

step "10. drain, timed"
gcloud dataflow jobs drain "$job" --project="$PROJECT" --region="$REGION"
wait_for "drained" in_state "$job" Drained || true
ask "SELECT COUNT(*) AS events, COUNT(DISTINCT message_id) AS messages FROM $table.events"

step "11. restart: a job without state reads the log, and sweeps"
publish "$folder/rows.jsonl"
launch
wait_for "the history is through" number "SELECT COUNTIF(history_done) AS through FROM (SELECT history_done FROM $table.jobs ORDER BY generation DESC LIMIT 1)" || true
ask "SELECT generation, started_at, ended_at, history_done FROM $table.jobs ORDER BY generation"
ask "SELECT table_name, upsert_stream_apply_watermark FROM $table.INFORMATION_SCHEMA.TABLES WHERE upsert_stream_apply_watermark IS NOT NULL"
"$PYTHON" -m pipeline.audit --warehouse="$warehouse" || echo "   the audit found a difference, or could not be made"
belongs tests/bigquery_double/read_api.py for what the log was read by, tests/bigquery_double/jobs.py for the sweep

step "12. receiver: on Cloud Run as its own account, from a call to its row"
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
# shellcheck disable=SC2016 # the receiver reads the variable
printf 'connections: [{name: First hour, receive: {write_keys: ["${WRITE_KEY}"]}}]\n' >"$folder/connections.yaml"
printf '%s' "$key" >"$folder/key"
gcloud secrets versions add "$NAME-key" --project="$PROJECT" --data-file="$folder/key"
gcloud secrets versions add "$NAME-connections" --project="$PROJECT" --data-file="$folder/connections.yaml"
make receiver-image PROJECT="$PROJECT" REGION="$REGION" BUCKET="$BUCKET" REPOSITORY="$REPOSITORY" BUILDER="$builder" BUILD_REGION="${BUILD_REGION:-$REGION}"
deploy
url=$(gcloud run services list --project="$PROJECT" --region="$REGION" --filter="metadata.name=$NAME" --format='value(status.url)')
token=$(gcloud auth print-identity-token)
curl -s -i -H "X-Serverless-Authorization: Bearer $token" "$url/ready" || true
echo "   twenty calls, one after the other: status and seconds"
for number in {1..20}; do received "$number"; done
wait_for "their rows" number "SELECT IF(COUNT(DISTINCT message_id) = 20, 1, 0) AS through FROM $table.events WHERE message_id LIKE 'hour-received-%'" || true
ask "SELECT connection, received_at, TO_JSON_STRING(context) AS context FROM $table.events WHERE message_id = 'hour-received-1'"
echo "   a new revision takes over while calls come: each that is answered 200 must be a row"
deploy OPTIONS=--update-env-vars=REVISION=2 &
deployment=$!
while kill -0 "$deployment" 2>/dev/null; do received "new-$RANDOM$RANDOM" | tee -a "$folder/answers"; done
wait "$deployment"
answered=$(grep -c '^200' "$folder/answers" 2>/dev/null) || answered=0
echo "   $answered were answered 200"
wait_for "their rows" number "SELECT IF(COUNT(DISTINCT message_id) >= $answered, 1, 0) AS through FROM $table.events WHERE message_id LIKE 'hour-received-new-%'" || true
echo "   without its role: how long until 503, and what is answered"
gcloud pubsub topics remove-iam-policy-binding "$TOPIC" --project="$PROJECT" --member="serviceAccount:$receiver" --role=roles/pubsub.publisher --format=none
refused() { received "refused-$RANDOM" | grep '^503'; }
wait_for "the first 503" refused || true
curl -s -i -H "X-Serverless-Authorization: Bearer $token" -u "$key:" -d '{"userId": "a", "event": "Refused"}' "$url/v1/track" || true
curl -s -i -H "X-Serverless-Authorization: Bearer $token" "$url/ready" || true
gcloud logging read "resource.type=cloud_run_revision AND resource.labels.service_name=$NAME AND (severity>=WARNING OR logName:stderr)" \
    --project="$PROJECT" --limit=20 --order=asc --freshness=2h --format='value(timestamp,textPayload,jsonPayload.message)' || true
belongs tests/receiver/publisher_double.py for what Pub/Sub answers, and docs/receiver.md for the rest

step "13. complaints: every error that the jobs logged"
failures
