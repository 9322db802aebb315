#include "spinor/plan/save.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/base/version.h"
#include "spinor/io/checkpoint_writer.h"
#include "spinor/io/digest.h"
#include "spinor/linalg/cpu.h"
#include "spinor/plan/execute.h"

namespace spinor {
namespace {

DType output_dtype(const TensorPlan& tensor, const SaveOptions& options) {
  const DType source = tensor.source->info.dtype;
  return options.dtype && info(source).editable ? *options.dtype : source;
}

OutputLayout layout(const RewritePlan& plan, const SaveOptions& options) {
  std::vector<TensorInfo> tensors;
  for (const TensorPlan& tensor : plan.tensors()) {
    TensorInfo info = tensor.source->info;
    info.name = tensor.name;
    info.dtype = output_dtype(tensor, options);
    tensors.push_back(std::move(info));
  }
  return layout_shards(tensors, options.max_shard_bytes);
}

Json output_config(const RewritePlan& plan, const SaveOptions& options) {
  Json config = plan.config();
  if (!options.dtype) return config;
  const std::string name(info(*options.dtype).torch);
  bool found = false;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!config.contains(key)) continue;
    config[key] = name;
    found = true;
  }
  if (!found) config["torch_dtype"] = name;  // the spelling every version of transformers reads
  return config;
}

// What the bytes of the output depend on. A resume with anything else is refused.
Json job(const RewritePlan& plan, const SaveOptions& options) {
  const Checkpoint& source = plan.model().checkpoint();
  Json files = Json::object();
  for (const File& shard : source.shards())
    files[shard.path().filename().string()] = {
        {"bytes", shard.bytes()},
        {"modified", std::filesystem::last_write_time(shard.path()).time_since_epoch().count()}};
  return {{"spinor_version", kVersion},
          {"cpu", cpu_level()},
          {"source", files},
          {"config", output_config(plan, options)},
          {"precision", plan.precision == Precision::float64 ? "float64" : "float32"},
          {"dtype", options.dtype ? Json(info(*options.dtype).name) : Json()},
          {"max_shard_bytes", options.max_shard_bytes},
          {"record", options.record},
          {"texts", options.texts}};
}

RowDigest digest_of(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  constexpr int64_t kChunk = 1 << 18;
  const int64_t row = tensor.info.row_bytes(), step = row > 0 ? std::max<int64_t>(1, kChunk / row) * row : 1;
  std::vector<std::byte> buffer;
  RowDigest digest;
  for (int64_t at = 0; at < tensor.info.bytes(); at += step) {
    buffer.resize(static_cast<size_t>(std::min(step, tensor.info.bytes() - at)));
    checkpoint.read(tensor, at, buffer);
    digest.add(at / row, row, buffer);
  }
  return digest;
}

// Per source file one digest: of the lines "name digest" of its tensors, in file order.
Json source_digests(const Checkpoint& source, const std::map<std::string, std::string>& digests) {
  std::vector<Digest> files(source.shards().size());
  for (const CheckpointTensor& tensor : source.tensors()) {
    const std::string line = tensor.info.name + " " + digests.at(tensor.info.name) + "\n";
    files[static_cast<size_t>(tensor.file)].update(std::as_bytes(std::span(line)));
  }
  Json json = Json::object();
  for (size_t i = 0; i < files.size(); ++i) json[source.shards()[i].path().filename().string()] = files[i].hex();
  return json;
}

template <typename T>
class Saver {
 public:
  Saver(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options)
      : plan_(plan),
        options_(options),
        source_(plan.model().checkpoint()),
        layout_(layout(plan, options)),
        writer_(out, source_.directory(), layout_, job(plan, options), {options.force, options.discard_partial}) {}

  SaveReport run() {
    collect();
    const int threads = options_.threads > 0 ? options_.threads : default_threads();
    std::vector<typename TensorProgram<T>::Workspace> workspaces(static_cast<size_t>(threads));
    parallel_for(static_cast<int64_t>(items_.size()), threads, [&](int64_t item, int thread) {
      const auto [job, block] = items_[static_cast<size_t>(item)];
      run_block(*job, block, workspaces[static_cast<size_t>(thread)]);
    });
    finish();
    return report_;
  }

 private:
  // A tensor in flight. Its program exists only while its blocks are being computed.
  struct Job {
    const TensorPlan* tensor;
    DType output;
    std::atomic<int64_t> left;
    std::once_flag once;
    std::unique_ptr<TensorProgram<T>> program;
    RowDigest source;  // of the rows read so far; guarded by the saver's mutex
  };

  void collect() {
    for (const TensorPlan& tensor : plan_.tensors()) {
      const DType output = output_dtype(tensor, options_);
      const int64_t bytes = tensor.source->info.elements() * info(output).bits / 8;
      progress_.bytes_total += bytes;
      ++report_.tensors;
      if (const Json* entry = writer_.finished(tensor.name)) {
        digests_[tensor.source->info.name] = entry->at("source").get<std::string>();
        progress_.bytes_done += bytes;
        report_.bytes_resumed += bytes;
        continue;
      }
      const int64_t blocks = tensor_cut(tensor, output).blocks();
      Job& job = *jobs_.emplace_back(std::make_unique<Job>(&tensor, output, blocks));
      if (blocks == 0) finish_tensor(job);
      for (int64_t block = 0; block < blocks; ++block) items_.emplace_back(&job, block);
    }
  }

  void run_block(Job& job, int64_t index, typename TensorProgram<T>::Workspace& work) {
    std::call_once(job.once, [&] { job.program = std::make_unique<TensorProgram<T>>(plan_, *job.tensor, job.output); });
    const TensorProgram<T>& program = *job.program;
    const Block block = program.cut().block(index);
    program.compute(block, work);
    write(program, block, work.output);
    digest_source(job, block, work.source);
    if (job.left.fetch_sub(1) == 1) {
      finish_tensor(job);
      job.program.reset();
    }
    const std::lock_guard lock(mutex_);
    progress_.bytes_done += static_cast<int64_t>(work.output.size());
    report_.bytes_written += static_cast<int64_t>(work.output.size());
    if (options_.progress) options_.progress(progress_);
  }

  void write(const TensorProgram<T>& program, const Block& block, std::span<const std::byte> bytes) {
    const int64_t cols = program.cut().cols, element = program.output_bytes();
    const std::string& name = program.tensor().name;
    if (block.cols == cols) return writer_.write(name, block.row * cols * element, bytes);
    const size_t width = static_cast<size_t>(block.cols * element);
    for (int64_t i = 0; i < block.rows; ++i)
      writer_.write(name, ((block.row + i) * cols + block.col) * element,
                    bytes.subspan(static_cast<size_t>(i) * width, width));
  }

  // The source's bytes are in the cache now. Panels are not whole rows: finish_tensor reads those once more.
  void digest_source(Job& job, const Block& block, std::span<const std::byte> bytes) {
    const TensorInfo& info = job.tensor->source->info;
    if (block.cols != info.cols() || std::ssize(bytes) != block.rows * info.row_bytes()) return;
    RowDigest digest;
    digest.add(block.row, info.row_bytes(), bytes);
    const std::lock_guard lock(mutex_);
    job.source.add(digest);
  }

  void finish_tensor(Job& job) {
    const CheckpointTensor& source = *job.tensor->source;
    const bool digested = job.source.rows() * source.info.row_bytes() == source.info.bytes();
    const std::string digest = (digested ? job.source : digest_of(source_, source)).hex();
    writer_.finish_tensor(job.tensor->name, {{"source", digest}});
    const std::lock_guard lock(mutex_);
    digests_[job.tensor->source->info.name] = digest;
  }

  void finish() {
    Json record = {{"spinor_version", kVersion}};
    record.update(options_.record);
    record["source"] = source_digests(source_, digests_);
    writer_.add_text("config.json", output_config(plan_, options_).dump(2) + "\n");
    writer_.add_text("spinor.json", record.dump(2) + "\n");
    for (const auto& [file, text] : options_.texts) writer_.add_text(file, text);
    for (const std::filesystem::path& file : source_.other_files()) writer_.copy(source_.directory() / file, file);
    writer_.finish();
  }

  const RewritePlan& plan_;
  const SaveOptions& options_;
  const Checkpoint& source_;
  OutputLayout layout_;
  CheckpointWriter writer_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::vector<std::pair<Job*, int64_t>> items_;
  std::mutex mutex_;  // guards the rest
  std::map<std::string, std::string> digests_;
  SaveProgress progress_;
  SaveReport report_;
};

void check_savable(const RewritePlan& plan, const SaveOptions& options) {
  if (options.dtype && !info(*options.dtype).editable)
    throw Error("--dtype", fmt::format("{} is not a type weights can be saved in", info(*options.dtype).name),
                "use float64, float32, float16 or bfloat16");
  if (!plan.online().empty()) {
    const OnlineTransform& first = plan.online().front();
    throw Error(first.module,
                fmt::format("transform {} at location {} runs online, and online transforms cannot be "
                            "written yet",
                            first.group, first.location),
                "leave out R3, R4 and every input, output, q_attn or k_cache location");
  }
  for (const TensorPlan& tensor : plan.tensors()) tensor_cut(tensor, output_dtype(tensor, options));
}

}  // namespace

SaveReport save(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options) {
  check_savable(plan, options);
  if (plan.precision == Precision::float64) return Saver<double>(plan, out, options).run();
  return Saver<float>(plan, out, options).run();
}

SaveSize save_size(const RewritePlan& plan, const SaveOptions& options) {
  const int64_t threads = options.threads > 0 ? options.threads : default_threads();
  const int64_t number = plan.precision == Precision::float64 ? sizeof(double) : sizeof(float);
  SaveSize size;
  for (const TensorPlan& tensor : plan.tensors()) {
    const DType output = output_dtype(tensor, options);
    const int64_t source_bits = info(tensor.source->info.dtype).bits, output_bits = info(output).bits;
    const Cut cut = tensor_cut(tensor, output);
    size.bytes += tensor.source->info.elements() * output_bits / 8;
    const int64_t block = cut.block_rows * cut.block_cols, tile = cut.tile_rows * cut.tile_cols;
    size.memory = std::max(size.memory, threads * (block * (source_bits + output_bits) / 8 + 2 * tile * number));
  }
  return size;
}

}  // namespace spinor
