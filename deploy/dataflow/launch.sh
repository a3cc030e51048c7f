#!/usr/bin/env bash
# Builds the image, pushes it, makes the Flex Template, and launches a run:
#   deploy/dataflow/launch.sh --project P --region R --repository NAME --bucket B --config gs://B/c.yaml \
#     --output gs://B/runs/one [--machine n2-standard-4] [--max-workers 20] [--disk 100] [--tag TAG] [--dry-run]
# --dry-run prints the commands, one a line, and runs none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

machine=n2-standard-4 max_workers=20 disk=100 dry_run='' tag=''
project='' region='' repository='' bucket='' config='' output=''
fail() { echo "launch.sh: $*" >&2; exit 2; }
while (($#)); do
  case $1 in
    --dry-run) dry_run=1; shift; continue ;;
    --project | --region | --repository | --bucket | --config | --output | --machine | --max-workers | --disk | --tag)
      (($# > 1)) || fail "$1 needs a value"
      name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"
      shift 2
      ;;
    *) fail "unknown option $1" ;;
  esac
done
for name in project region repository bucket config output; do
  [[ -n ${!name} ]] || fail "give --$name"
done
[[ $config == gs://* ]] || fail "--config $config: workers and launcher see gs:// paths alone"
[[ $output == gs://* ]] || fail "--output $output: workers and launcher see gs:// paths alone"

revision=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# A tag that is used again leaves workers with whichever image they have.
tag=${tag:-$(date -u +%Y%m%d-%H%M%S)-$revision}
image=$region-docker.pkg.dev/$project/$repository/tamis:$tag
template=gs://${bucket#gs://}/templates/tamis-$tag.json
builder=${BUILDER:-docker}

do_() {
  if [[ $dry_run ]]; then printf '%q ' "$@" | sed 's/ $//'; echo; else "$@"; fi
}

do_ "$builder" build -f deploy/dataflow/Containerfile --build-arg "REVISION=$revision" -t "$image" .
do_ "$builder" push "$image"
do_ gcloud dataflow flex-template build "$template" "--project=$project" "--image=$image" --sdk-language=PYTHON \
  --metadata-file=deploy/dataflow/metadata.json
do_ gcloud dataflow flex-template run "tamis-$(date -u +%Y%m%d-%H%M%S)" "--project=$project" "--region=$region" \
  "--template-file-gcs-location=$template" \
  "--parameters=config=$config,output=$output,sdk_container_image=$image,disk_size_gb=$disk" \
  "--worker-machine-type=$machine" "--max-workers=$max_workers" \
  "--staging-location=gs://${bucket#gs://}/staging" "--temp-location=gs://${bucket#gs://}/tmp"
