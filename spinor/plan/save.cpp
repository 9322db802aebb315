#include "spinor/plan/save.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <span>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/base/version.h"
#include "spinor/io/checkpoint_writer.h"
#include "spinor/io/digest.h"
#include "spinor/plan/calibrated.h"
#include "spinor/plan/execute.h"
#include "spinor/plan/online.h"
#include "spinor/plan/save_parts.h"
#include "spinor/plan/schedule.h"
#include "spinor/plan/source_digest.h"

namespace spinor {

class Saving::Writer {
 public:
  virtual ~Writer() = default;
  virtual PreparedTensors& prepared() = 0;
  virtual SaveReport run() = 0;
  virtual void fail(const std::string& reason) noexcept = 0;
};

namespace {

// T: the arithmetic of the edits.
template <typename T>
class Saver final : public Saving::Writer {
 public:
  Saver(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options)
      : plan_(plan),
        options_(options),
        source_(plan.model().checkpoint()),
        layout_(output_layout(plan, options)),
        writer_(out, source_.directory(), layout_, save_job(plan, options),
                {options.force, options.discard_partial, options.rank}),
        prepared_(plan, writer_, options.dtype, model_dtype(plan, options)) {}

  PreparedTensors& prepared() override {
    has_data_ = true;
    return prepared_;
  }

  SaveReport run() override {
    try {
      compute();
      const Completion completion = writer_.complete();
      report_.pending = completion.pending;
      if (completion.mine) finish();
    } catch (const std::exception& error) {
      fail(error.what());
      throw;
    }
    return report_;
  }

  void fail(const std::string& reason) noexcept override { writer_.fail(reason); }

 private:
  void compute() {
    if (!has_data_) require_no_data(plan_);
    Schedule schedule(collect());
    report_.bytes_written += prepared_.bytes_written();
    const int threads = options_.threads > 0 ? options_.threads : default_threads();
    std::vector<Workspace> workspaces(static_cast<size_t>(threads));
    parallel_for(std::ssize(schedule.steps()), threads, [&](int64_t i, int thread) {
      const Schedule::Step& step = schedule.steps()[static_cast<size_t>(i)];
      if (!schedule.wait(step)) return;
      try {
        if (options_.stop.stop_requested()) throw Stopped();
        writer_.check();
        take(step, workspaces[static_cast<size_t>(thread)]);
        schedule.done(step, [&](std::span<const size_t> tensors, int pass) { end_pass(tensors, pass); });
      } catch (...) {
        schedule.fail();
        throw;
      }
    });
    write_online(threads);
  }

  using Workspace = typename TensorProgram<T>::Workspace;

  // A tensor in flight. Its program exists from its first block to its last.
  struct InFlight {
    const TensorPlan* tensor;
    DType output;
    std::vector<TensorInfo> outputs;
    int passes = 0;                 // observing ones
    std::atomic<int64_t> left = 0;  // blocks to write
    std::once_flag once = {};
    std::unique_ptr<TensorProgram<T>> program = {};
    RowDigest source = {};  // of the rows read so far; guarded by the saver's mutex
  };

  std::vector<ScheduledTensor> collect() {
    const std::vector<int> owners = plan_shares(plan_, options_, layout_).owners;
    for (size_t i = 0; i < owners.size(); ++i) own_.push_back(owners[i] == options_.rank.rank);
    for (const OnlineTensor& online : own_online()) {
      const int64_t bytes = checked_bytes(online.info.dtype, online.info.shape, online.info.name);
      const bool finished = writer_.finished(online.info.name).has_value();
      progress_.bytes_total += bytes;
      progress_.bytes_done += finished ? bytes : 0;
      report_.bytes_resumed += writer_.resumed(online.info.name) ? bytes : 0;
      ++report_.tensors;
    }
    std::vector<ScheduledTensor> scheduled;
    for (size_t i = 0; i < plan_.tensors().size(); ++i) {
      if (!own_[i]) continue;
      const TensorPlan& tensor = plan_.tensors()[i];
      const DType output = output_dtype(tensor, options_.dtype);
      InFlight& job = *jobs_.emplace_back(std::make_unique<InFlight>(&tensor, output, output_tensors(tensor, output)));
      const bool finished = resume(job);
      const Cut cut = tensor_cut(tensor, output);
      job.left = cut.blocks();
      if (job.left == 0 && !finished) finish_tensor(job);
      const WeightQuantization* quantization = quantization_of(tensor.edits);
      job.passes = observing_passes(tensor, output);
      scheduled.push_back({.passes = job.passes,
                           .blocks = job.left,
                           .block_elements = cut.block_rows * cut.block_cols,
                           .fused = quantization ? quantization->fused : std::string(),
                           .written = !finished});
    }
    leave_out_what_nobody_needs(scheduled);
    return scheduled;
  }

  std::vector<OnlineTensor> own_online() const {
    std::vector<OnlineTensor> own;
    size_t i = plan_.tensors().size();
    for (OnlineTensor& online : online_tensors(plan_, model_dtype(plan_, options_)))
      if (own_[i++]) own.push_back(std::move(online));
    return own;
  }

  // Whether an earlier run has finished the tensor.
  bool resume(const InFlight& job) {
    ++report_.tensors;
    int64_t bytes = 0;
    bool finished = true;
    for (const TensorInfo& output : job.outputs) {
      bytes += checked_bytes(output.dtype, output.shape, output.name);
      finished = finished && writer_.finished(output.name);
    }
    progress_.bytes_total += bytes;
    if (!finished) return false;
    const Json entry = *writer_.finished(job.outputs.front().name);
    digests_[job.tensor->source->info.name] = entry.at("source").get<std::string>();
    progress_.bytes_done += bytes;
    report_.bytes_resumed += writer_.resumed(job.outputs.front().name) ? bytes : 0;
    return true;
  }

  // A finished tensor is still observed where one that is fused with it is not finished.
  static void leave_out_what_nobody_needs(std::vector<ScheduledTensor>& tensors) {
    std::set<std::string> unfinished;
    for (const ScheduledTensor& tensor : tensors)
      if (tensor.written) unfinished.insert(tensor.fused);
    for (ScheduledTensor& tensor : tensors)
      if (!tensor.written && (tensor.fused.empty() || !unfinished.contains(tensor.fused))) tensor.passes = 0;
  }

  void take(const Schedule::Step& step, Workspace& work) {
    InFlight& job = *jobs_[step.tensor];
    std::call_once(job.once, [&] { job.program = std::make_unique<TensorProgram<T>>(plan_, *job.tensor, job.output); });
    const Block block = job.program->cut().block(step.block);
    if (!step.writes) {
      job.program->observe(step.pass, block, work);
      if (step.pass == 0) digest_source(job, block, work.source);
      return;
    }
    job.program->compute(block, work);
    write(job, block, work.output);
    if (job.passes == 0) digest_source(job, block, work.source);
    if (job.left.fetch_sub(1) == 1) {
      finish_tensor(job);
      job.program.reset();
    }
    count(std::ssize(work.output));
  }

  void end_pass(std::span<const size_t> tensors, int pass) {
    for (const size_t t : tensors) jobs_[t]->program->end_pass(pass);
    if (tensors.size() == 1) return;
    float largest = 0;
    for (const size_t t : tensors) largest = std::max(largest, jobs_[t]->program->encoder()->largest_magnitude());
    for (const size_t t : tensors) jobs_[t]->program->encoder()->share_largest_magnitude(largest);
  }

  void write(const InFlight& job, const Block& block, std::span<const std::byte> bytes) {
    const TensorProgram<T>& program = *job.program;
    const int64_t row = program.output_row_bytes(program.cut().cols), width = program.output_row_bytes(block.cols);
    const std::string& name = job.outputs.front().name;
    if (width == row) return writer_.write(name, block.row * row, bytes);
    for (int64_t i = 0; i < block.rows; ++i)
      writer_.write(name, (block.row + i) * row + program.output_row_bytes(block.col),
                    bytes.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)));
  }

  // The source's bytes are in the cache now. Panels are not whole rows: finish_tensor reads those once more.
  void digest_source(InFlight& job, const Block& block, std::span<const std::byte> bytes) {
    const TensorInfo& info = job.tensor->source->info;
    if (job.tensor->source->form) return;  // finish_tensor reads its parts
    if (block.cols != info.cols() || std::ssize(bytes) != block.rows * info.row_bytes()) return;
    RowDigest digest;
    digest.add(block.row, info.row_bytes(), bytes);
    const std::lock_guard lock(mutex_);
    job.source.add(digest);
  }

  // The codes are noted last: who finds them finished finds the rest finished, too.
  void finish_tensor(InFlight& job) {
    for (size_t i = job.outputs.size() - 1; i > 0; --i) {
      const std::vector<std::byte> bytes = job.program->encoder()->small_tensor(i);
      writer_.write(job.outputs[i].name, 0, bytes);
      writer_.finish_tensor(job.outputs[i].name, Json::object());
      count(std::ssize(bytes));
    }
    const CheckpointTensor& source = *job.tensor->source;
    const bool digested = job.source.rows() * source.info.row_bytes() == source.info.bytes();
    const std::string digest = digested ? job.source.hex() : digest_of(source_, source);
    writer_.finish_tensor(job.outputs.front().name, {{"source", digest}});
    const std::lock_guard lock(mutex_);
    digests_[source.info.name] = digest;
  }

  // A matrix at a time, its rows on all threads.
  void write_online(int threads) {
    for (const OnlineTensor& tensor : own_online()) {
      const TensorInfo& info = tensor.info;
      if (writer_.finished(info.name)) continue;
      const int64_t rows = info.shape.front(), row = checked_bytes(info.dtype, info.shape, info.name) / rows;
      const int64_t step = std::max<int64_t>(1, (1 << 18) / row), blocks = (rows + step - 1) / step;
      parallel_for(blocks, threads, [&](int64_t block, int) {
        const int64_t first = block * step;
        const std::vector<std::byte> bytes = online_rows(tensor, first, std::min(step, rows - first));
        writer_.write(info.name, first * row, bytes);
        count(std::ssize(bytes));
      });
      writer_.finish_tensor(info.name, Json::object());
    }
  }

  void count(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    progress_.bytes_done += bytes;
    report_.bytes_written += bytes;
    if (options_.progress) options_.progress(progress_);
  }

  void finish() {
    for (const TensorPlan& tensor : plan_.tensors()) {  // those of other ranks
      std::string& digest = digests_[tensor.source->info.name];
      if (!digest.empty()) continue;
      const std::string first = output_tensors(tensor, output_dtype(tensor, options_.dtype)).front().name;
      digest = writer_.finished(first).value().at("source").template get<std::string>();
    }
    Json record = {{"spinor_version", kVersion}};
    record.update(options_.record);
    record["source"] = source_digests(source_, digests_);
    writer_.add_text("config.json", python_json_text(output_config(plan_, options_), 2) + "\n");
    // Names of files need not be UTF-8.
    writer_.add_text("spinor.json", record.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    for (const auto& [file, text] : options_.texts) writer_.add_text(file, text);
    for (const std::filesystem::path& file : source_.other_files())
      if (!options_.texts.contains(file.string())) writer_.copy(source_.directory() / file, file);
    writer_.finish();
  }

  const RewritePlan& plan_;
  const SaveOptions options_;
  const Checkpoint& source_;
  OutputLayout layout_;
  CheckpointWriter writer_;
  PreparedTensors prepared_;
  bool has_data_ = false;
  std::vector<bool> own_;                        // of the plan's tensors, then of its online ones
  std::vector<std::unique_ptr<InFlight>> jobs_;  // of own ones, in the order of the plan's tensors
  std::mutex mutex_;                             // guards the rest
  std::map<std::string, std::string> digests_;
  SaveProgress progress_;
  SaveReport report_;
};

void check_savable(const RewritePlan& plan, const SaveOptions& options) {
  if (options.dtype && !info(*options.dtype).editable)
    throw Error("--dtype", fmt::format("{} is not a type weights can be saved in", info(*options.dtype).name),
                "use float64, float32, float16 or bfloat16");
  for (const TensorPlan& tensor : plan.tensors()) tensor_cut(tensor, output_dtype(tensor, options.dtype));
}

}  // namespace

void require_no_data(const RewritePlan& plan) {
  if (const std::string needing = plan.needs_data(); !needing.empty())
    throw Error(needing, "is quantized with calibration data, and there is none", "give --calibration FILE");
}

Saving::Saving(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options) {
  check_savable(plan, options);
  if (plan.precision() == Precision::float64)
    writer_ = std::make_unique<Saver<double>>(plan, out, options);
  else
    writer_ = std::make_unique<Saver<float>>(plan, out, options);
}
Saving::~Saving() = default;
Saving::Saving(Saving&&) noexcept = default;

PreparedTensors& Saving::prepared() {
  return writer_->prepared();
}
SaveReport Saving::finish() {
  return writer_->run();
}

void Saving::fail(const std::string& reason) noexcept {
  writer_->fail(reason);
}

SaveReport save(const RewritePlan& plan, const std::filesystem::path& out, const SaveOptions& options) {
  require_no_data(plan);
  return Saving(plan, out, options).finish();
}

}  // namespace spinor
