#include "spinor/plan/in_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "spinor/base/parallel.h"
#include "spinor/linalg/convert.h"
#include "spinor/plan/execute.h"

namespace spinor {
namespace {

constexpr int64_t kCheckedElements = 1 << 15;

// Who reads another tensor's memory goes before it, whom others read goes last.
enum class Phase { readers, weights, norms };

struct Place {
  const TensorPlan* tensor = nullptr;
  const MemoryTensor* to = nullptr;
  Phase phase = Phase::weights;
};

const MemoryTensor* place_of(const TensorPlan& tensor, const InPlaceOptions& options) {
  if (tensor.name == tensor.source->info.name) return tensor.source->memory.get();
  const auto found = options.added.find(tensor.name);
  if (found == options.added.end()) throw Error(tensor.name, "has no place in memory");
  if (found->second.info.shape != tensor.source->info.shape || found->second.info.dtype != tensor.source->info.dtype)
    throw Error(tensor.name, fmt::format("is to have the shape and dtype of {}", tensor.source->info.name));
  return &found->second;
}

std::set<std::string, std::less<>> norms_read(const RewritePlan& plan) {
  std::set<std::string, std::less<>> names;
  for (const TensorPlan& tensor : plan.tensors())
    for (const Edit& edit : tensor.edits) {
      if (const auto* fold = std::get_if<FoldNorm>(&edit)) names.insert(fold->norm);
      if (const auto* fold = std::get_if<FoldNormBias>(&edit)) names.insert(fold->norm_bias);
      if (const auto* fold = std::get_if<FoldNormWithBias>(&edit)) names.insert({fold->norm, fold->norm_bias});
    }
  return names;
}

bool reads_a_weight(const TensorPlan& tensor) {
  return std::ranges::any_of(tensor.edits, [](const Edit& e) { return std::holds_alternative<FoldNormBias>(e); });
}

void check_in_place(const RewritePlan& plan) {
  if (plan.quantization() || !plan.needs_data().empty())
    throw Error("plan", "quantizes, which needs other tensors than there are", "save the model, and quantize that");
  for (const TensorPlan& tensor : plan.tensors())
    if (!tensor.edits.empty() && !tensor.source->memory)
      throw Error(tensor.name, tensor.source->form ? "is quantized" : "is in a file",
                  "give a model whose weights are numbers in memory");
}

// T holds every value of the tensor's type. A piece at a time, which stays in the cache.
template <typename T>
bool all_finite(const MemoryTensor& tensor) {
  const int64_t entry = info(tensor.info.dtype).bits / 8, all = tensor.info.bytes() / entry;
  std::vector<std::byte> bytes(static_cast<size_t>(kCheckedElements * entry));
  std::vector<T> numbers(kCheckedElements);
  for (int64_t done = 0; done < all; done += kCheckedElements) {
    const int64_t n = std::min(kCheckedElements, all - done);
    tensor.read(done * entry, std::span(bytes).first(static_cast<size_t>(n * entry)));
    load(tensor.info.dtype, bytes.data(), numbers.data(), n);
    if (!store(tensor.info.dtype, numbers.data(), bytes.data(), n)) return false;
  }
  return true;
}

// Once something is written there is no way back: what can be known is known before.
void check_values(const std::vector<Place>& places, const InPlaceOptions& options) {
  parallel_for(std::ssize(places), options.threads, [&](int64_t i, int) {
    if (options.stop.stop_requested()) throw Stopped();
    const MemoryTensor& source = *places[static_cast<size_t>(i)].tensor->source->memory;
    if (!(source.info.dtype == DType::F64 ? all_finite<double>(source) : all_finite<float>(source)))
      throw Error(source.info.name, "contains NaN or infinity", "the checkpoint is damaged");
  });
}

// T: the arithmetic of the edits.
template <typename T>
class InPlace {
 public:
  InPlace(const RewritePlan& plan, const InPlaceOptions& options) : plan_(plan), options_(options) {
    const std::set<std::string, std::less<>> norms = norms_read(plan);
    for (const TensorPlan& tensor : plan.tensors()) {
      const bool moved = tensor.name != tensor.source->info.name;
      if (tensor.edits.empty() && !moved) continue;
      Phase phase = norms.contains(tensor.name) ? Phase::norms : Phase::weights;
      if (moved || reads_a_weight(tensor)) phase = Phase::readers;
      places_.push_back({&tensor, place_of(tensor, options), phase});
      progress_.bytes_total += tensor.source->info.bytes();
    }
  }

  void run() {
    for (const Place& place : places_) tensor_cut(*place.tensor, place.to->info.dtype);
    check_values(places_, options_);
    for (const Phase phase : {Phase::readers, Phase::weights, Phase::norms}) run(phase);
  }

 private:
  using Workspace = typename TensorProgram<T>::Workspace;

  struct InFlight {
    const Place* place = nullptr;
    std::atomic<int64_t> left = 0, done = 0;  // blocks
    std::once_flag once = {};
    std::unique_ptr<TensorProgram<T>> program = {};
  };

  void run(Phase phase) {
    std::vector<std::unique_ptr<InFlight>> jobs;
    std::vector<std::pair<InFlight*, int64_t>> blocks;
    for (const Place& place : places_) {
      if (place.phase != phase) continue;
      InFlight& job = *jobs.emplace_back(std::make_unique<InFlight>(&place));
      job.left = tensor_cut(*place.tensor, place.to->info.dtype).blocks();
      for (int64_t b = 0; b < job.left; ++b) blocks.emplace_back(&job, b);
    }
    const int threads = options_.threads > 0 ? options_.threads : default_threads();
    std::vector<Workspace> workspaces(static_cast<size_t>(threads));
    try {
      parallel_for(std::ssize(blocks), threads, [&](int64_t i, int thread) {
        if (options_.stop.stop_requested()) throw Stopped();
        const auto& [job, block] = blocks[static_cast<size_t>(i)];
        take(*job, block, workspaces[static_cast<size_t>(thread)]);
      });
    } catch (const std::exception& error) {
      fail(error, jobs);
    }
    for (const auto& job : jobs) rewritten_.push_back(job->place->tensor->name);
  }

  void take(InFlight& job, int64_t index, Workspace& work) {
    const Place& place = *job.place;
    std::call_once(job.once, [&] {
      job.program = std::make_unique<TensorProgram<T>>(plan_, *place.tensor, place.to->info.dtype);
    });
    const TensorProgram<T>& program = *job.program;
    const Block block = program.cut().block(index);
    program.compute(block, work);
    ++job.done;
    const int64_t row = program.output_row_bytes(program.cut().cols), width = program.output_row_bytes(block.cols);
    const int64_t begin = block.row * row + program.output_row_bytes(block.col);
    place.to->write(ByteRows{.begin = begin, .rows = block.rows, .width = width, .stride = row}, work.output);
    if (job.left.fetch_sub(1) == 1) job.program.reset();
    count(std::ssize(work.output));
  }

  void count(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    progress_.bytes_done += bytes;
    if (options_.progress) options_.progress(progress_);
  }

  // As it was, or PartlyRewritten.
  [[noreturn]] void fail(const std::exception& error, const std::vector<std::unique_ptr<InFlight>>& jobs) {
    std::vector<std::string> damaged;
    for (const auto& job : jobs) {
      if (job->done == 0) continue;
      (job->left == 0 ? rewritten_ : damaged).push_back(job->place->tensor->name);
    }
    if (rewritten_.empty() && damaged.empty()) throw;
    throw PartlyRewritten(error.what(), std::move(rewritten_), std::move(damaged));
  }

  const RewritePlan& plan_;
  const InPlaceOptions& options_;
  std::vector<Place> places_;
  std::vector<std::string> rewritten_;
  std::mutex mutex_;  // guards the next
  SaveProgress progress_;
};

}  // namespace

PartlyRewritten::PartlyRewritten(const std::string& why, std::vector<std::string> rewritten,
                                 std::vector<std::string> damaged)
    : Error("model in memory",
            fmt::format("{}; {} tensors are rewritten, {} in part", why, rewritten.size(), damaged.size()),
            "load the model again"),
      rewritten_(std::move(rewritten)),
      damaged_(std::move(damaged)) {}

void rewrite_in_place(const RewritePlan& plan, const InPlaceOptions& options) {
  check_in_place(plan);
  if (plan.precision() == Precision::float64)
    InPlace<double>(plan, options).run();
  else
    InPlace<float>(plan, options).run();
}

}  // namespace spinor
