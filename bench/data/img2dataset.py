# img2dataset at what it can do best here: it writes the bytes as they are, decodes and hashes
# nothing, and keeps all cores busy. Prints the photos that arrived and the seconds, without the
# start of this Python.
import glob, logging, os, sys, time

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
from img2dataset import download

urls, out, threads = sys.argv[1:4]
cores = len(os.sched_getaffinity(0))
with open(urls) as f:
    photos = sum(1 for _ in f)
printed = os.dup(1)
os.dup2(2, 1)  # it prints what it does
start = time.perf_counter()
download(url_list=urls, output_folder=out, output_format="files", processes_count=cores, thread_count=int(threads) // cores,
         number_sample_per_shard=max(photos // (4 * cores), 1), disable_all_reencoding=True, compute_hash=None, extract_exif=False)
seconds = time.perf_counter() - start
os.write(printed, f"{len(glob.glob(out + '/*/*.jpg'))} {seconds}\n".encode())
