#include "spinor/io/checkpoint_writer.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/digest.h"
#include "spinor/io/output_directory.h"
#include "spinor/io/output_journals.h"
#include "spinor/io/output_shard.h"
#include "spinor/io/rank_board.h"

namespace spinor {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlockBytes = 1 << 20;       // copied at a time
constexpr int64_t kWritebackBytes = 16 << 20;  // written to a shard before the disk is told to begin
constexpr const char* kIndexFile = "model.safetensors.index.json";

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

// The file system's answer before it is asked to reserve file after file, and the only one where it cannot reserve.
// Another rank may be reserving: what is free is asked first, so that its part counts as needed or as free, or as both.
void check_space(const fs::path& directory, const OutputLayout& layout) {
  struct statvfs volume;
  if (statvfs(directory.c_str(), &volume) != 0 || volume.f_blocks == 0) return;
  int64_t needed = 0;
  for (const OutputLayout::Shard& shard : layout.shards) {
    struct stat status;
    const bool there = stat((directory / shard.file).c_str(), &status) == 0;
    needed += std::max<int64_t>(0, shard.bytes - (there ? int64_t{status.st_blocks} * 512 : 0));
  }
  const auto free = static_cast<int64_t>(volume.f_bavail * volume.f_frsize);
  if (needed > free)
    throw Error(directory.string(), fmt::format("needs {}, {} are free", describe_bytes(needed), describe_bytes(free)),
                "free some space or choose a directory on another disk");
}

}  // namespace

struct CheckpointWriter::Data {
  Data(const fs::path& out, const fs::path& source, OutputLayout output, const WriterOptions& options);

  void begin(const Json& job, bool discard);
  void open_journal(const Json& job);
  void open_shards();
  OutputTensor& at(const std::string& tensor);
  bool is_intact(OutputTensor& tensor);
  bool settle(std::span<const int64_t> tickets);
  void check_borders();
  void write_headers();
  fs::path claim(const fs::path& relative);
  void check_finished();
  void sync_share();
  void sync();

  OutputLayout layout;
  Rank rank;
  OutputDirectory directory;
  bool one_machine = is_of_one_machine(directory.partial());  // has the file system, and so one page cache
  std::map<std::string, OutputTensor> tensors;
  std::deque<OutputShard> shards;
  std::optional<RankBoard> board;  // nothing: alone
  std::optional<OutputJournals> journals;
  std::set<fs::path> files;  // of the output, relative
};

CheckpointWriter::Data::Data(const fs::path& out, const fs::path& source, OutputLayout output,
                             const WriterOptions& options)
    : layout(std::move(output)), rank(options.rank), directory(out, source, options.force, !rank.alone()) {
  if (!rank.alone() && options.discard)
    throw Error(directory.partial().string(), "cannot be discarded by one of several ranks",
                "delete it before they start");
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
    if (!rank.alone()) board.emplace(directory.partial(), rank);
    open_journal(with_layout(job, layout));
    open_shards();
  } catch (const std::exception& error) {
    // Another job started by hand is its user's mistake, and no failure of this one.
    if (board && !rank.launched && !journals) board->leave();
    if (board) board->fail(error.what());
    if (rank.alone() && directory.created()) directory.remove();
    throw;
  }
}

void CheckpointWriter::Data::open_journal(const Json& job) {
  journals.emplace(directory.partial(), job, board ? board->ticket() : 0);
  for (const FinishedTensor& finished : journals->earlier())
    if (const auto found = tensors.find(finished.tensor); found != tensors.end()) found->second.earlier = finished;
}

// Of several ranks only the one that completes the output writes headers: no two machines write the same page.
void CheckpointWriter::Data::open_shards() {
  fs::create_directories(directory.files());
  check_space(directory.files(), layout);
  for (const OutputLayout::Shard& shard : layout.shards)
    shards.emplace_back(File::create(directory.files() / claim(shard.file), shard.bytes));
  if (rank.alone()) write_headers();
}

void CheckpointWriter::Data::write_headers() {
  for (size_t i = 0; i < shards.size(); ++i) shards[i].file.write(0, std::as_bytes(std::span(layout.shards[i].header)));
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
    if (!tensor.intact || !board) return;
    journals->add(*tensor.earlier);  // for the others: it was looked at
    tensor.entry = tensor.earlier->entry;
    tensor.done = true;
  });
  return tensor.intact;
}

// Takes over what others have finished, and says whether all is there.
bool CheckpointWriter::Data::settle(std::span<const int64_t> tickets) {
  for (const int64_t ticket : tickets) {
    if (ticket == board->ticket()) continue;
    for (FinishedTensor& finished : journals->finished_by(ticket)) {
      const auto found = tensors.find(finished.tensor);
      if (found == tensors.end() || found->second.done) continue;
      found->second.earlier = std::move(finished);
      found->second.settled_by = ticket;
    }
  }
  return std::ranges::all_of(tensors, [](const auto& named) { return named.second.done || named.second.settled_by; });
}

// Where shares meet within a page, one machine may have written back what it had read there before the other wrote.
void CheckpointWriter::Data::check_borders() {
  for (const OutputLayout::Shard& shard : layout.shards)
    for (size_t i = 0; i < shard.tensors.size(); ++i) {
      const OutputTensor& tensor = at(shard.tensors[i].name);
      const auto differs = [&](size_t other) { return at(shard.tensors[other].name).settled_by != tensor.settled_by; };
      if (!tensor.settled_by || !((i > 0 && differs(i - 1)) || (i + 1 < shard.tensors.size() && differs(i + 1))))
        continue;
      if (tensor.earlier->digest != digest_of(shards[tensor.shard].file, *tensor.info).hex())
        throw Error(tensor.info->name, "is not in the file as its rank wrote it", "start all ranks again");
    }
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
    if (!tensor.done && !tensor.settled_by && !is_intact(tensor))
      throw Error(name, "is not finished, so the output is not complete");
}

void CheckpointWriter::Data::sync_share() {
  for (OutputShard& shard : shards) shard.file.sync();
  journals->sync();
  sync_directory(directory.files());
  sync_directory(directory.partial());
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
    data_ = std::make_unique<Data>(out, source, std::move(layout), options);
    data_->begin(job, options.discard);
  });
}

CheckpointWriter::~CheckpointWriter() = default;

std::optional<Json> CheckpointWriter::finished(const std::string& name) const {
  OutputTensor& tensor = data_->at(name);
  if (tensor.done) return tensor.entry;
  if (tensor.settled_by) return tensor.earlier->entry;
  return data_->is_intact(tensor) ? std::optional(tensor.earlier->entry) : std::nullopt;
}

bool CheckpointWriter::resumed(const std::string& name) const {
  return data_->at(name).intact;
}

std::vector<std::byte> CheckpointWriter::read(const std::string& name) const {
  const OutputTensor& tensor = data_->at(name);
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.info->bytes()));
  const File& shard = data_->shards[tensor.shard].file;
  if (!data_->board || data_->one_machine) {
    shard.read(tensor.info->begin, bytes);
    return bytes;
  }
  // NFS asks for what others have written when a file is opened. What it keeps of it is of no use when they go on.
  const File file = File::open(shard.path());
  file.read(tensor.info->begin, bytes);
  file.drop_cache(tensor.info->begin, tensor.info->begin + tensor.info->bytes());
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
    const auto [first, end] = shard.settled(tensor.info->begin, tensor.info->begin + offset);
    shard.file.drop_cache(first, end);
    shard.file.start_writeback(first, end);
  }
}

void CheckpointWriter::finish_tensor(const std::string& name, const Json& entry) {
  OutputTensor& tensor = data_->at(name);
  if (tensor.written < tensor.info->bytes())
    throw Error(name, fmt::format("only {} of its {} bytes were written", tensor.written.load(), tensor.info->bytes()));
  // Panels of columns were not whole rows when they were written: they are read once more.
  const bool digested = tensor.rows.rows() * tensor.info->row_bytes() == tensor.info->bytes();
  const RowDigest digest = digested ? tensor.rows : digest_of(data_->shards[tensor.shard].file, *tensor.info);
  data_->journals->add({name, digest.hex(), entry});
  tensor.entry = entry;
  tensor.intact = false;
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

void CheckpointWriter::share() {
  if (data_->board && !data_->one_machine) with_system_errors([&] { data_->sync_share(); });
}

void CheckpointWriter::take_over() {
  if (data_->board) data_->settle(data_->board->tickets());
}

Completion CheckpointWriter::complete() {
  if (!data_->board) return {};
  RankBoard& board = *data_->board;
  return with_system_errors([&] {
    // Whoever completes the output syncs it all; it can, where it has the same page cache, and before that the others
    // wait.
    if (!data_->rank.launched || !data_->one_machine) data_->sync_share();
    board.done();
    RankBoard::Ending ending = board.wait([&](std::span<const int64_t> settled) { return data_->settle(settled); });
    if (!fs::exists(data_->directory.partial()) && !fs::exists(data_->directory.out()))
      throw Error(data_->directory.partial().string(), "was deleted while ranks worked in it", "start all ranks again");
    return Completion{ending.mine, std::move(ending.pending)};
  });
}

void CheckpointWriter::check() const {
  if (data_->board) data_->board->check();
}

void CheckpointWriter::fail(const std::string& reason) noexcept {
  if (data_->board) data_->board->fail(reason);
}

void CheckpointWriter::finish() {
  with_system_errors([&] {
    data_->check_finished();
    if (data_->board) {
      if (!data_->one_machine) data_->check_borders();
      data_->write_headers();
    }
    if (!data_->layout.index.empty()) add_text(kIndexFile, data_->layout.index);
    data_->directory.delete_others(data_->files);
    data_->sync();
    check();
    data_->directory.publish();
  });
}

}  // namespace spinor
