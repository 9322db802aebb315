#include "spinor/io/checkpoint_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/digest.h"
#include "spinor/io/journal.h"
#include "spinor/io/output_directory.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlockBytes = 1 << 20;       // read at a time
constexpr int64_t kWritebackBytes = 16 << 20;  // written to a shard before the disk is told to begin
constexpr const char* kIndexFile = "model.safetensors.index.json";

struct OutputShard {
  explicit OutputShard(File f) : file(std::move(f)) {}
  // Bytes before this one are not written again, as far as anybody knows who has written up to `end`. A tensor that is
  // written in parts of rows shares pages between its parts: until it is finished it stays in the cache, else the
  // kernel would read them back from the disk part by part.
  int64_t settled(int64_t end) {
    const std::lock_guard lock(mutex);
    return in_parts.empty() ? end : std::min(end, *in_parts.begin());
  }

  File file;
  std::atomic<int64_t> written = 0;
  std::mutex mutex;            // guards:
  std::set<int64_t> in_parts;  // where the unfinished tensors begin that are written in parts of rows
};

struct OutputTensor {
  size_t shard = 0;
  const TensorInfo* info = nullptr;
  std::atomic<int64_t> written = 0;    // bytes, by this run
  std::atomic<bool> in_parts = false;  // of rows
  std::mutex mutex;                    // guards:
  RowDigest rows;                      // of what was written in whole rows
  std::atomic<bool> done = false;      // by this run, with
  Json entry;
  std::optional<FinishedTensor> earlier;  // what the journal says of it
  std::once_flag checked;                 // guards:
  bool intact = false;                    // the bytes in the file have the digest that the journal says
};

RowDigest digest_of(const File& file, const TensorInfo& info) {
  const int64_t row = info.row_bytes(), step = row > 0 ? std::max<int64_t>(1, kBlockBytes / row) * row : 1;
  std::vector<std::byte> block(static_cast<size_t>(std::min(step, info.bytes())));
  RowDigest digest;
  for (int64_t at = 0; at < info.bytes(); at += step) {
    const auto part = std::span(block).first(static_cast<size_t>(std::min(step, info.bytes() - at)));
    file.read(info.begin + at, part);
    digest.add(at / row, row, part);
  }
  return digest;
}

// The headers fix every byte's place; a job that would put them elsewhere is another job.
Json with_layout(Json job, const OutputLayout& layout) {
  if (!job.is_object()) throw Error("job", "is not an object");
  Digest digest;
  for (const OutputLayout::Shard& shard : layout.shards) {
    digest.update(std::as_bytes(std::span(shard.file)));
    digest.update(std::as_bytes(std::span(shard.header)));
  }
  job["layout"] = digest.hex();
  return job;
}

void check_job(const Json& before, const Json& now, const fs::path& partial) {
  std::vector<std::string> found = differences(before, now);
  if (found.empty()) return;
  constexpr size_t kShown = 6;
  if (found.size() > kShown) {
    const size_t more = found.size() - kShown;
    found.resize(kShown);
    found.push_back(fmt::format("{} more", more));
  }
  throw Error(partial.string(), fmt::format("was left by another job: {}", fmt::join(found, "; ")),
              "delete it, or pass --discard-partial to start again");
}

// The file system's answer before it is asked to reserve file after file, and the only one where it cannot reserve.
void check_space(const fs::path& directory, const OutputLayout& layout) {
  int64_t needed = 0;
  for (const OutputLayout::Shard& shard : layout.shards) {
    struct stat status;
    const bool there = stat((directory / shard.file).c_str(), &status) == 0;
    needed += std::max<int64_t>(0, shard.bytes - (there ? int64_t{status.st_blocks} * 512 : 0));
  }
  struct statvfs volume;
  if (statvfs(directory.c_str(), &volume) != 0 || volume.f_blocks == 0) return;
  const auto free = static_cast<int64_t>(volume.f_bavail * volume.f_frsize);
  if (needed > free)
    throw Error(directory.string(), fmt::format("needs {}, {} are free", describe_bytes(needed), describe_bytes(free)),
                "free some space or choose a directory on another disk");
}

// Everything in the directory that is not one of `files` (relative), what is deeper first.
std::vector<fs::path> stale_files(const fs::path& directory, const std::set<fs::path>& files) {
  std::set<fs::path> needed = files;
  for (const fs::path& file : files)
    for (fs::path parent = file.parent_path(); !parent.empty(); parent = parent.parent_path()) needed.insert(parent);
  std::vector<fs::path> stale;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (!needed.contains(entry.path().lexically_relative(directory))) stale.push_back(entry.path());
  std::ranges::reverse(stale);
  return stale;
}

}  // namespace

struct CheckpointWriter::Data {
  Data(const fs::path& out, const fs::path& source, OutputLayout output, bool force);

  void begin(const Json& job, bool discard);
  void open_journal(const Json& job);
  void open_shards();
  OutputTensor& at(const std::string& tensor);
  bool is_intact(OutputTensor& tensor);
  fs::path claim(const fs::path& relative);
  void check_finished();
  void delete_stale();
  void sync();

  OutputLayout layout;
  OutputDirectory directory;
  std::map<std::string, OutputTensor> tensors;
  std::deque<OutputShard> shards;
  std::optional<Journal> journal;
  std::set<fs::path> files;  // of the output, relative
};

CheckpointWriter::Data::Data(const fs::path& out, const fs::path& source, OutputLayout output, bool force)
    : layout(std::move(output)), directory(out, source, force) {
  for (size_t i = 0; i < layout.shards.size(); ++i)
    for (const TensorInfo& info : layout.shards[i].tensors) {
      OutputTensor& tensor = tensors[info.name];
      tensor.shard = i;
      tensor.info = &info;
    }
}

void CheckpointWriter::Data::begin(const Json& job, bool discard) {
  try {
    if (discard) directory.clear();
    open_journal(with_layout(job, layout));
    open_shards();
  } catch (...) {
    if (directory.created()) directory.remove();
    throw;
  }
}

void CheckpointWriter::Data::open_journal(const Json& job) {
  const fs::path path = directory.journal();
  if (!fs::exists(path)) {
    // Only a directory in which no job has begun is taken for ours.
    for (const auto& entry : fs::directory_iterator(directory.partial()))
      if (entry.path().filename() != "journal.jsonl.tmp")
        throw Error(directory.partial().string(), "has no journal: it was not left by an interrupted run",
                    "delete it, or pass --discard-partial to start again");
    journal.emplace(path, job);
    return;
  }
  const JournalLines lines = read_journal(path);
  check_job(lines.job, job, directory.partial());
  for (const FinishedTensor& finished : lines.finished)
    if (const auto found = tensors.find(finished.tensor); found != tensors.end()) found->second.earlier = finished;
  journal.emplace(path, lines);
}

void CheckpointWriter::Data::open_shards() {
  fs::create_directories(directory.files());
  check_space(directory.files(), layout);
  for (const OutputLayout::Shard& shard : layout.shards) {
    File file = File::create(directory.files() / claim(shard.file), shard.bytes);
    file.write(0, std::as_bytes(std::span(shard.header)));
    shards.emplace_back(std::move(file));
  }
}

OutputTensor& CheckpointWriter::Data::at(const std::string& tensor) {
  const auto found = tensors.find(tensor);
  if (found == tensors.end()) throw Error(tensor, "is not a tensor of the output");
  return found->second;
}

bool CheckpointWriter::Data::is_intact(OutputTensor& tensor) {
  std::call_once(tensor.checked, [&] {
    tensor.intact =
        tensor.earlier && tensor.earlier->digest == digest_of(shards[tensor.shard].file, *tensor.info).hex();
  });
  return tensor.intact;
}

// Notes a file of the output; each has one origin.
fs::path CheckpointWriter::Data::claim(const fs::path& relative) {
  const bool inside = relative.is_relative() && relative.has_filename() && relative == relative.lexically_normal() &&
                      *relative.begin() != ".." && relative != ".";
  if (!inside) throw Error(relative.string(), "is not the name of a file in the output directory");
  if (!files.insert(relative).second) throw Error(relative.string(), "is written twice");
  const fs::path parent = relative.parent_path();
  if (!parent.empty()) fs::create_directories(directory.files() / parent);
  return relative;
}

void CheckpointWriter::Data::check_finished() {
  for (auto& [name, tensor] : tensors)
    if (!tensor.done && !is_intact(tensor)) throw Error(name, "is not finished, so the output is not complete");
}

void CheckpointWriter::Data::delete_stale() {
  for (const fs::path& path : stale_files(directory.files(), files)) fs::remove(path);
}

void CheckpointWriter::Data::sync() {
  for (OutputShard& shard : shards) shard.file.sync();
  std::set<fs::path> directories = {directory.files()};
  for (const fs::path& file : files) {
    File::open(directory.files() / file).sync();
    for (fs::path parent = file.parent_path(); !parent.empty(); parent = parent.parent_path())
      directories.insert(directory.files() / parent);
  }
  for (const fs::path& path : directories) sync_directory(path);
}

CheckpointWriter::CheckpointWriter(const fs::path& out, const fs::path& source, OutputLayout layout, const Json& job,
                                   WriterOptions options) {
  with_system_errors([&] {
    data_ = std::make_unique<Data>(out, source, std::move(layout), options.force);
    data_->begin(job, options.discard);
  });
}

CheckpointWriter::~CheckpointWriter() = default;

std::optional<Json> CheckpointWriter::finished(const std::string& name) const {
  OutputTensor& tensor = data_->at(name);
  if (tensor.done) return tensor.entry;
  return data_->is_intact(tensor) ? std::optional(tensor.earlier->entry) : std::nullopt;
}

std::vector<std::byte> CheckpointWriter::read(const std::string& name) const {
  const OutputTensor& tensor = data_->at(name);
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.info->bytes()));
  data_->shards[tensor.shard].file.read(tensor.info->begin, bytes);
  return bytes;
}

void CheckpointWriter::write(const std::string& name, int64_t offset, std::span<const std::byte> bytes) {
  OutputTensor& tensor = data_->at(name);
  const int64_t count = std::ssize(bytes);
  if (offset < 0 || offset > tensor.info->bytes() || count > tensor.info->bytes() - offset)
    throw Error(name, fmt::format("{} bytes at byte {} are not within its {}", count, offset, tensor.info->bytes()));
  OutputShard& shard = data_->shards[tensor.shard];
  shard.file.write(tensor.info->begin + offset, bytes);
  if (const int64_t row = tensor.info->row_bytes(); count > 0 && offset % row == 0 && count % row == 0) {
    RowDigest rows;
    rows.add(offset / row, row, bytes);
    const std::lock_guard lock(tensor.mutex);
    tensor.rows.add(rows);
  } else if (!tensor.in_parts.exchange(true)) {
    const std::lock_guard lock(shard.mutex);
    shard.in_parts.insert(tensor.info->begin);
  }
  tensor.written += count;
  // Early and often, so that disk and processor work at the same time and the last fsync has little left to do.
  const int64_t before = shard.written.fetch_add(count);
  if (before / kWritebackBytes != (before + count) / kWritebackBytes) {
    const int64_t settled = shard.settled(tensor.info->begin + offset);
    shard.file.drop_cache(settled);
    shard.file.start_writeback(settled);
  }
}

void CheckpointWriter::finish_tensor(const std::string& name, const Json& entry) {
  OutputTensor& tensor = data_->at(name);
  if (tensor.written < tensor.info->bytes())
    throw Error(name, fmt::format("only {} of its {} bytes were written", tensor.written.load(), tensor.info->bytes()));
  // Panels of columns were not whole rows when they were written: they are read once more.
  const bool digested = tensor.rows.rows() * tensor.info->row_bytes() == tensor.info->bytes();
  const RowDigest digest = digested ? tensor.rows : digest_of(data_->shards[tensor.shard].file, *tensor.info);
  data_->journal->add({name, digest.hex(), entry});
  tensor.entry = entry;
  tensor.done = true;
  OutputShard& shard = data_->shards[tensor.shard];
  const std::lock_guard lock(shard.mutex);
  shard.in_parts.erase(tensor.info->begin);
}

void CheckpointWriter::add_text(const fs::path& relative, std::string_view text) {
  with_system_errors([&] {
    File file = File::create(data_->directory.files() / data_->claim(relative), std::ssize(text));
    file.write(0, std::as_bytes(std::span(text)));
  });
}

void CheckpointWriter::copy(const fs::path& from, const fs::path& relative) {
  with_system_errors([&] {
    const File source = File::open(from);
    const int64_t bytes = source.bytes();
    File file = File::create(data_->directory.files() / data_->claim(relative), bytes);
    std::vector<std::byte> block(static_cast<size_t>(std::min(kBlockBytes, bytes)));
    for (int64_t at = 0; at < bytes; at += kBlockBytes) {
      const auto part = std::span(block).first(static_cast<size_t>(std::min(kBlockBytes, bytes - at)));
      source.read(at, part);
      file.write(at, part);
    }
  });
}

void CheckpointWriter::finish() {
  with_system_errors([&] {
    data_->check_finished();
    if (!data_->layout.index.empty()) add_text(kIndexFile, data_->layout.index);
    data_->delete_stale();
    data_->sync();
    data_->directory.publish();
  });
}

}  // namespace spinor
