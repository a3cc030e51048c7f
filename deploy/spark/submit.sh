#!/usr/bin/env bash
# Submits a run to a stand-alone Spark cluster: deploy/spark/submit.sh CONFIG OUTPUT [--dry-run]
set -euo pipefail
(($# >= 2)) || { echo "usage: submit.sh CONFIG OUTPUT [--dry-run]" >&2; exit 2; }
command=(tamis run "$1" "--output=$2" --runner SparkRunner --
  "--spark_rest_url=${SPARK_REST_URL:-http://localhost:6066}"
  "--spark_master_url=${SPARK_MASTER_URL:-spark://localhost:7077}"
  --spark_submit_uber_jar
  "--spark_job_server_jar=${SPARK_JOB_SERVER_JAR:-/opt/beam/spark-job-server.jar}"
  --environment_type=EXTERNAL
  --environment_config=localhost:50000)
if [[ ${3:-} == --dry-run ]]; then
  printf '%q ' "${command[@]}" | sed 's/ $//'
  echo
else
  exec "${command[@]}"
fi
