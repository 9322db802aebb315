#include "spinor/learning/learner.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/base/list.h"
#include "spinor/base/parallel.h"
#include "spinor/learning/capture.h"
#include "spinor/learning/learn.h"
#include "spinor/learning/quantization.h"
#include "spinor/runtime/torch_errors.h"

namespace spinor::learning {
namespace {

// R of the group in the plan: x <- x R where this module writes x.
std::optional<Rotation> rotation_in(const RewritePlan& plan, const Module& writer, const std::string& group) {
  for (const Edit& edit : plan.find(weight_name(writer))->edits) {
    if (const auto* right = std::get_if<MultiplyRight>(&edit); right && right->label.starts_with(group))
      return right->r;
    if (const auto* left = std::get_if<MultiplyLeft>(&edit); left && left->label.starts_with(group))
      return left->r.transposed();
  }
  return {};
}

class Learner {
 public:
  Learner(const Model& model, const Learnable::Request& request, const calibration::Samples& samples,
          const LearnerOptions& options)
      : model_(model), request_(request), learning_(request.learning), samples_(samples), options_(options) {}

  LearnedRotations run() {
    check();
    learned_.record = write_fields(learning_);
    capture();
    choose_seed();
    if (request_.learnable) learn();
    if (options_.complete) add_starts();
    learned_.record["kept"] = kept_;
    return std::move(learned_);
  }

 private:
  // What can be known before any work.
  void check() const {
    if (request_.seeds > 1) check_seeds();
    for (const std::string& name : learning_.rotations)
      if (request_.learnable && !rotates(spin_from(name)))
        throw Error("learning.rotations", fmt::format("has {}, which is not among the rotations", name),
                    fmt::format("add {} to rotations, or take it out of learning.rotations", name));
    if (!find_objective(learning_.objective).needs_quantizer) return;
    if (learns("R1")) check_row_quantizer(options_.activations, model_.hidden_size());
    if (learns("R2")) check_row_quantizer(options_.activations, model_.value_block());
  }

  void check_seeds() const {
    if (!rotates(Spin::R1))
      throw Error("seeds", "are compared by R1, which is not among the rotations", "leave seeds out");
    if (r1_of(first_seed()).data == r1_of(first_seed() + 1).data)
      throw Error("seeds", "all give the same R1",
                  "take a type that is drawn, such as random-hadamard, or leave them out");
  }
  uint64_t first_seed() const { return request_.start.spin.seed.value_or(kPeerSeed); }
  Matrix<double> r1_of(uint64_t seed) const {
    RotateOptions options = request_.start;
    options.spin.seed = seed;
    return r1_in(rotated(options));
  }

  bool learns(std::string_view name) const {
    return request_.learnable && contains(learning_.rotations, std::string(name));
  }
  bool rotates(Spin spin) const {
    const std::optional<TransformConfig>& config = request_.start.transform_config;
    if (!config) return contains(request_.start.spin.rotations, spin);
    return std::ranges::any_of(config->config_groups,
                               [&](const auto& group) { return group.first == name_in_table(spin); });
  }
  void tell(const std::string& what, int64_t done, int64_t all) const {
    if (options_.stop.stop_requested()) throw Stopped();
    if (options_.progress) options_.progress(what, done, all);
  }

  std::vector<LegalScale> scales_to_find() const {
    std::vector<LegalScale> scales;
    for (const ScaleLegality& one : scale_legality(model_))
      if (contains(learning_.scales, std::string(name_in_table(one.kind)))) append(scales, one.scales);
    return scales;
  }

  // Folded, and not rotated.
  void capture() {
    RotateOptions fold = request_.start;
    fold.spin.rotations.clear();
    fold.spin.given = {};
    fold.spin.vision = false;
    fold.transform_config.reset();
    const Objective& objective = find_objective(learning_.objective);
    CaptureOptions how{.learn = std::min(learning_.samples, samples_.count - 1),
                       .first_token = learning_.first_token.value_or(objective.first_weight),
                       .stream = rotates(Spin::R1) && (learns("R1") || request_.seeds > 1),
                       .of_weights = objective.name == "weights",
                       .values = rotates(Spin::R2) && learns("R2"),
                       .scales = request_.learnable ? scales_to_find() : std::vector<LegalScale>(),
                       .seed = learning_.seed,
                       .runtime = options_.judge.runtime,
                       .scratch = options_.scratch,
                       .stop = options_.stop};
    how.progress = [&](int64_t layer, int64_t layers) { tell("capture", layer, layers); };
    rows_ = capture_rows(rotated_plan(model_, fold), samples_, how);
  }

  RewritePlan rotated(const RotateOptions& options) const { return rotated_plan(model_, options); }
  std::optional<Matrix<double>> start_of(const RewritePlan& plan, const Module& writer, const char* group) const {
    const std::optional<Rotation> r = rotation_in(plan, writer, group);
    return r ? std::optional(r->matrix()) : std::nullopt;
  }

  // Of the first that writes to the residual stream: an embedding, unless it is projected into the stream.
  Matrix<double> r1_in(const RewritePlan& plan) const {
    for (const Module* writer : model_.stream().writers)
      if (std::optional<Matrix<double>> r1 = start_of(plan, *writer, "R1")) return std::move(*r1);
    throw Error("R1", "rotates nothing that writes to the residual stream: nothing to learn from",
                "set learnable: false, and leave seeds out");
  }

  LearnOptions how_to_learn(const std::string& subject) const {
    LearnOptions how{.subject = subject,
                     .objective = learning_.objective,
                     .batch = learning_.batch,
                     .seed = learning_.seed,
                     .stop = options_.stop};
    if (find_objective(learning_.objective).needs_quantizer) how.quantizer = RowQuantizer{options_.activations};
    how.optimizer.learning_rate = learning_.learning_rate;
    how.optimizer.steps = learning_.steps;
    how.optimizer.fixes_ones = subject == "R1" && model_.stream().centred;
    return how;
  }

  // The random start whose rows are easiest to quantize before anything is learned.
  void choose_seed() {
    const uint64_t first = first_seed();
    double least = 0;
    Json losses = Json::array();
    for (int64_t i = 0; request_.seeds > 1 && i < request_.seeds; ++i) {
      const uint64_t seed = first + static_cast<uint64_t>(i);
      const double loss =
          mean_loss(rows_.learn.stream.rows, rows_.learn.stream.weights, r1_of(seed), how_to_learn("R1"));
      losses.push_back(loss);
      if (i == 0 || loss < least) {
        least = loss;
        learned_.seed = seed;
      }
      tell("seeds", i + 1, request_.seeds);
    }
    if (!learned_.seed) return;
    request_.start.spin.seed = learned_.seed;
    learned_.record["seeds"] = {{"first", first}, {"losses", losses}, {"chosen", *learned_.seed}};
  }

  void learn() {
    Matrices r1, r2;
    if (learns("R1")) r1 = learn_r1();
    if (learns("R2")) r2 = learn_r2();
    rows_.learn = rows_.judge = {};  // takes memory that running models wants
    judge_ = std::make_unique<Judge>(model_, judged_tokens(), options_.judge);
    RotateOptions best = request_.start;
    tell("judge", 0, 1);
    least_ = judge_->divergence(best);
    if (!std::isfinite(least_))
      throw Error(std::string(model_.architecture_name()), "its logits on the calibration text are not finite",
                  "look for the layer that makes them so: spinor eval, spinor inspect");
    learned_.record["start"]["kl_divergence"] = least_;
    keep_if_better("R1", best, std::move(r1));
    keep_if_better("R2", best, std::move(r2));
    keep_scales_if_better(best);
    learned_.record["learned"]["kl_divergence"] = least_;
  }

  using Matrices = std::map<std::string, Matrix<double>>;

  std::vector<int32_t> judged_tokens() const {
    const int64_t first = std::min(learning_.samples, samples_.count - 1) * samples_.context;
    return {samples_.tokens.begin() + first, samples_.tokens.end()};
  }

  // Nothing where the objective of the other samples' rows did not fall.
  std::optional<Matrix<double>> learn_one(const std::string& subject, const RowSet& rows, const RowSet& judged,
                                          const Matrix<double>& start, Json& record) {
    LearnOptions how = how_to_learn(subject);
    how.progress = [&](int64_t step, double) { tell("learn " + subject, step + 1, learning_.steps); };
    Learned found = learn_rotation(rows.rows, rows.weights, start, how);
    const double before = mean_loss(judged.rows, judged.weights, start, how);
    const double after = mean_loss(judged.rows, judged.weights, found.rotation, how);
    record[subject] = {{"loss_at_start", before}, {"loss", after}};
    if (after < before) return std::move(found.rotation);
    learned_.warnings.push_back(
        fmt::format("{}: what was learned has a loss of {:.4g} on held-out text, its start {:.4g}: the start is kept",
                    subject, after, before));
    return {};
  }

  Matrices learn_r1() {
    const Matrix<double> start = r1_in(rotated(request_.start));
    Matrices matrices;
    if (auto r1 = learn_one("R1", rows_.learn.stream, rows_.judge.stream, start, learned_.record["held_out"]))
      matrices.emplace("R1", std::move(*r1));
    return matrices;
  }

  // One a layer, or none: a file has one for every layer that has values. Objectives want rows about sqrt(n) long, as a
  // norm leaves them; values are as long as they are.
  Matrices learn_r2() {
    const RewritePlan plan = rotated(request_.start);
    Matrices matrices;
    bool any = false;
    for (const ValueOutput& pair : model_.value_outputs()) {
      const auto rows = rows_.learn.values.find(pair.value->layer);
      if (rows == rows_.learn.values.end()) continue;
      const std::string name = fmt::format("R2.{}", pair.value->layer);
      const Matrix<double> start = start_of(plan, *pair.value, "R2").value();
      RowSet learn = rows->second, judge = rows_.judge.values.at(pair.value->layer);
      const double rms = learn.rows.to(at::kFloat).square().mean().sqrt().item<double>();
      for (RowSet* set : {&learn, &judge})
        if (rms > 0) set->rows = set->rows / rms;
      std::optional<Matrix<double>> r2 = learn_one(name, learn, judge, start, learned_.record["held_out"]);
      any |= r2.has_value();
      matrices.emplace(name, r2 ? std::move(*r2) : start);
    }
    return any ? matrices : Matrices();
  }

  void add_starts() {
    const RewritePlan plan = rotated(request_.start);
    if (rotates(Spin::R1)) learned_.rotations.try_emplace("R1", r1_in(plan));
    if (!rotates(Spin::R2)) return;
    for (const ValueOutput& pair : model_.value_outputs()) {
      if (pair.value->layer >= model_.num_layers()) continue;  // of multi-token prediction: no file has one
      if (std::optional<Matrix<double>> r2 = start_of(plan, *pair.value, "R2"))
        learned_.rotations.try_emplace(fmt::format("R2.{}", pair.value->layer), std::move(*r2));
    }
  }

  void keep_if_better(const std::string& part, RotateOptions& best, Matrices matrices) {
    if (matrices.empty()) return;
    RotateOptions candidate = best;
    for (const auto& [name, matrix] : matrices) {
      const size_t dot = name.find('.');
      const int layer = dot == std::string::npos ? kEveryLayer : std::stoi(name.substr(dot + 1));
      candidate.spin.given.groups[name.substr(0, dot)].insert_or_assign(layer, Rotation::dense(matrix, true));
    }
    judge_candidate(part, best, std::move(candidate), [&] { learned_.rotations.merge(matrices); });
  }

  void keep_scales_if_better(const RotateOptions& best) {
    if (rows_.scales.empty()) return;
    RotateOptions candidate = best;
    for (const auto& [name, factors] : rows_.scales)
      candidate.spin.given.scales[name] = std::make_shared<const std::vector<double>>(factors);
    RotateOptions kept = best;
    judge_candidate("scales", kept, std::move(candidate), [&] {
      for (const auto& [name, factors] : rows_.scales) learned_.scales["scale." + name] = factors;
    });
  }

  void judge_candidate(const std::string& part, RotateOptions& best, RotateOptions candidate,
                       const std::function<void()>& keep) {
    tell("judge " + part, 0, 1);
    const double divergence = judge_->divergence(candidate);
    learned_.record["held_out"]["kl_divergence_with_" + part] = divergence;
    if (!(divergence < least_)) {
      learned_.warnings.push_back(
          fmt::format("{}: with what was learned held-out text diverges by {:.4g} nats a token from the original "
                      "model, without by {:.4g}: it is left out",
                      part, divergence, least_));
      return;
    }
    least_ = divergence;
    best = std::move(candidate);
    kept_.push_back(part);
    keep();
  }

  const Model& model_;
  Learnable::Request request_;
  LearningArguments learning_;
  const calibration::Samples& samples_;
  const LearnerOptions& options_;
  Capture rows_;
  std::unique_ptr<Judge> judge_;
  double least_ = 0;
  std::vector<std::string> kept_;
  LearnedRotations learned_;
};

}  // namespace

LearnedRotations learn_rotations(const Model& model, const Learnable::Request& request,
                                 const calibration::Samples& samples, const LearnerOptions& options) {
  if (samples.count < 2)
    throw Error("calibration text",
                fmt::format("fills one window of {} tokens, and one must be left to judge by", samples.context),
                "use a longer text, or a smaller learning.context");
  return runtime::with_torch_errors([&] {
    const int threads = options.judge.runtime.threads;
    at::set_num_threads(threads > 0 ? threads : default_threads());
    return Learner(model, request, samples, options).run();
  });
}

}  // namespace spinor::learning
