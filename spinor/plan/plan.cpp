#include "spinor/plan/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "spinor/base/error.h"
#include "spinor/model/quantized_source.h"
#include "spinor/plan/online.h"
#include "spinor/plan/plan_text.h"

namespace spinor {
namespace {

// A tied head and its embedding are one tensor, so an edit of either would silently be one of both.
void check_untied(const Model& model, const Module& module) {
  if (!model.tied_head() || (&module != model.head() && &module != model.embedding())) return;
  throw Error(module.name + ".weight", "cannot be edited: the embedding and the head are one tensor (tied)",
              "call untie() on the plan first");
}

// Of a part, only what keeps to its outputs: rows of the weight, columns of the bias.
template <typename Multiply>
Edit part_of(Edit edit, const Module& module) {
  auto* multiply = std::get_if<Multiply>(&edit);
  auto* scale = std::get_if<Scale>(&edit);
  if (scale && scale->columns != std::is_same_v<Multiply, MultiplyRight>) scale = nullptr;
  if (!multiply && !scale)
    throw Error(module.name, "is a part of a tensor, and only its outputs can be edited", "name the whole linear");
  (multiply ? multiply->part : scale->part) = module.part;
  return edit;
}

bool quantizes(const Edit& edit) {
  return std::holds_alternative<Quantize>(edit) || std::holds_alternative<QuantizeDequantize>(edit);
}

bool* undone_online(Edit& edit) {
  if (auto* right = std::get_if<MultiplyRight>(&edit)) return &right->undone_online;
  auto* left = std::get_if<MultiplyLeft>(&edit);
  return left ? &left->undone_online : nullptr;
}

// Before the first product that is undone online and does not commute with it; behind what was quantized.
void insert(Edit edit, std::vector<Edit>& edits) {
  const auto is_first = [&](Edit& other) {
    const bool* undone = undone_online(other);
    return undone && *undone && (!undone_online(edit) || other.index() == edit.index());
  };
  const auto quantized = std::find_if(edits.rbegin(), edits.rend(), quantizes).base();
  const auto place = quantizes(edit) ? edits.end() : std::find_if(quantized, edits.end(), is_first);
  edits.insert(place, std::move(edit));
}

// The type under which compressed-tensors makes room for the matrices of a group, which it then reads from the files.
// One it does not know would be an error there, also for a group that it has nothing to do for. `online` is null for
// such a group.
std::string peer_type(const std::string& type, const OnlineTransform* online) {
  if (type == "hadamard" || type == "random-hadamard" || type == "random-matrix") return type;
  return online && !online->r.is_dense() ? "random-hadamard" : "random-matrix";
}

// As transform_config() of the output: the precision of online transforms is that of their stored matrices.
Json stored_transforms(Json config, const std::vector<OnlineTransform>& online, DType online_dtype) {
  for (auto& [name, scheme] : config["config_groups"].items()) {
    const auto found = std::ranges::find(online, name, &OnlineTransform::group);
    scheme["type"] = peer_type(scheme["type"], found == online.end() ? nullptr : &*found);
    if (found == online.end()) continue;
    const DType dtype = online_tensor_dtype(found->r.is_dense(), online_dtype);
    scheme["precision"] = "torch." + std::string(info(dtype).torch);
  }
  return config;
}

// A model in which nothing is quantized.
Json transforms_only(const Json& transforms) {
  return {{"quant_method", "compressed-tensors"},
          {"sparsity_config", Json::object()},
          {"transform_config", transforms},
          {"version", kCompressedTensors}};
}

// Whether a transform_config as files have it transforms anything but weights. That it can be read is checked
// elsewhere.
bool runs_online(const Json& transforms) {
  if (!transforms.is_object() || !transforms.contains("config_groups")) return false;
  for (const Json& scheme : transforms["config_groups"]) {
    if (!scheme.is_object() || !scheme.contains("apply")) continue;
    for (const Json& args : scheme["apply"]) {
      const Json location = args.is_object() && args.contains("location") ? args["location"] : Json();
      if (!location.is_string() || !location.get_ref<const std::string&>().starts_with("weight_")) return true;
    }
  }
  return false;
}

}  // namespace

RewritePlan::RewritePlan(const Model& model) : RewritePlan(model, WithoutOnline()) {
  if (const QuantizedSource* source = model.quantized_source(); source && runs_online(source->transform_config))
    throw Error(source->stored.directory().string(),
                "runs transforms online, and a plan of its weights alone drops them",
                "make the plan with start_plan(), or use a Job");
}

// In the order of the modules, which is the order transformers shards by; tensors that no module owns come last.
RewritePlan::RewritePlan(const Model& model, WithoutOnline) : model_(model) {
  const auto tensors = model.checkpoint().tensors();
  tensors_.reserve(tensors.size() + 1);
  const auto add_whole = [this](const CheckpointTensor& tensor) {
    add(tensor.info.name, tensor, {.out = tensor.info.rows(), .in = tensor.info.cols()});
  };
  for (const Module& module : model.modules()) {
    if (module.kind == ModuleKind::part) continue;
    if (module.weight && model.owner(module.weight->info.name) == &module) {
      if (module.kind == ModuleKind::linear)
        add(module.weight->info.name, *module.weight, module.shape);
      else
        add_whole(*module.weight);
    }
    if (const CheckpointTensor* bias = module.bias)  // of a stack one row each
      add(bias->info.name, *bias, {.out = 1, .in = bias->info.cols(), .count = bias->info.rows()});
  }
  for (const CheckpointTensor& tensor : tensors)
    if (!model.owner(tensor.info.name)) add_whole(tensor);
}

void RewritePlan::add(const std::string& name, const CheckpointTensor& source, WeightShape shape) {
  index_.emplace(name, tensors_.size());
  tensors_.push_back({.name = name, .source = &source, .shape = shape, .edits = {}});
}

const TensorPlan* RewritePlan::find(std::string_view tensor) const {
  const auto found = index_.find(tensor);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

TensorPlan& RewritePlan::at(std::string_view tensor) {
  const auto found = index_.find(tensor);
  if (found == index_.end()) throw Error(std::string(tensor), "is not among the tensors of the plan");
  return tensors_[found->second];
}

void RewritePlan::ask_for(Precision wanted) {
  ++revision_;
  const auto edited = [](const TensorPlan& tensor) { return tensor.edits.size() > tensor.restoring; };
  if (wanted == Precision::float64 || std::ranges::none_of(tensors_, edited)) precision_ = wanted;
}

void RewritePlan::edit_weight(const Module& module, Edit edit) {
  ++revision_;
  if (!module.weight) throw Error(module.name, "has no weight to edit", "name a linear, an embedding or a norm");
  if (!untied_) check_untied(model_, module);
  if (dropped_mtp_ && module.role == Role::mtp) return;
  if (module.part) edit = part_of<MultiplyLeft>(std::move(edit), module);
  std::vector<Edit>& edits = at(weight_name(module)).edits;
  if (!edits.empty() && std::holds_alternative<Quantize>(edits.back()))
    throw Error(weight_name(module), "was quantized by an earlier modifier and cannot be edited any more",
                "put what rotates before what quantizes");
  add(std::move(edit), edits);
}

void RewritePlan::edit_bias(const Module& module, Edit edit) {
  ++revision_;
  if (!module.bias) throw Error(module.name, "has no bias to edit");
  if (dropped_mtp_ && module.role == Role::mtp) return;
  if (module.part) edit = part_of<MultiplyRight>(std::move(edit), module);
  add(std::move(edit), at(module.bias->info.name).edits);
}

void RewritePlan::add(Edit edit, std::vector<Edit>& edits) const {
  if (bool* undone = undone_online(edit)) *undone = undone_online_;
  insert(std::move(edit), edits);
}

void RewritePlan::edit_undone_online(const std::function<void()>& edit) {
  undone_online_ = true;
  edit();
  undone_online_ = false;
}

void RewritePlan::add_online(OnlineTransform transform) {
  ++revision_;
  online_.push_back(std::move(transform));
}

std::vector<OnlineTransform> RewritePlan::take_online() {
  ++revision_;
  for (TensorPlan& tensor : tensors_)
    for (Edit& edit : tensor.edits)
      if (bool* undone = undone_online(edit)) *undone = false;
  return std::exchange(online_, {});
}

void RewritePlan::mark_restoring() {
  for (TensorPlan& tensor : tensors_) tensor.restoring = tensor.edits.size();
}

void RewritePlan::untie() {
  if (!model_.tied_head() || untied_) return;
  if (const std::string reason = model_.refusal("untie"); !reason.empty())
    throw Error(weight_name(*model_.head()), "cannot be a tensor of its own: " + reason,
                "leave the head and the embedding as they are, or untie the model first");
  untied_ = true;
  ++revision_;
  const Module &head = *model_.head(), &embedding = *model_.embedding();
  if (head.weight == embedding.weight) add(weight_name(head), *embedding.weight, head.shape);
}

std::string RewritePlan::needs_data() const {
  for (const TensorPlan& tensor : tensors_)
    if (const WeightQuantization* quantization = quantization_of(tensor.edits);
        quantization && quantization->needs_data())
      return tensor.name;
  return calibrated_.empty() ? "" : calibrated_.front().module;
}

RewritePlan RewritePlan::unquantized() const {
  RewritePlan plan = *this;
  for (TensorPlan& tensor : plan.tensors_) std::erase_if(tensor.edits, quantizes);
  plan.quantization_.reset();
  plan.calibrated_.clear();
  return plan;
}

void RewritePlan::dequantize(std::optional<DType> scale_dtype) {
  if (const std::string needing = needs_data(); !needing.empty())
    throw Error(needing, "is quantized with calibration data, so it cannot be run before that is done",
                "write the model with spinor quantize --calibration FILE, and run that");
  for (TensorPlan& tensor : tensors_)
    for (Edit& edit : tensor.edits)
      if (auto* quantize = std::get_if<Quantize>(&edit)) {
        WeightQuantization quantization = std::move(quantize->quantization);
        quantization.scale_dtype = scale_dtype.value_or(tensor.source->info.dtype);
        edit = QuantizeDequantize{std::move(quantization)};
      }
}

void RewritePlan::set_transform_config(Json config) {
  ++revision_;
  transform_config_ = std::move(config);
}

void RewritePlan::set_quantization(QuantizationConfig config) {
  ++revision_;
  quantization_ = std::move(config);
}

void RewritePlan::calibrate(CalibratedActivation activation) {
  ++revision_;
  calibrated_.push_back(std::move(activation));
}

void RewritePlan::drop_mtp() {
  ++revision_;
  dropped_mtp_ = true;
  const std::set<const CheckpointTensor*> dropped(model_.mtp().begin(), model_.mtp().end());
  std::erase_if(tensors_, [&](const TensorPlan& tensor) { return dropped.contains(tensor.source); });
  index_.clear();
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

void RewritePlan::change_config(Json& config) const {
  const auto change = [this](Json& keys) {
    if (untied_) keys["tie_word_embeddings"] = false;
    // Absent means one such layer to some families: none is said.
    for (const char* key : {"num_nextn_predict_layers", "mtp_num_hidden_layers"})
      if (dropped_mtp_ && keys.contains(key)) keys[key] = 0;
  };
  // transformers 4 asks the config of the language model, where absent means tied.
  if (const auto text = config.find("text_config"); text != config.end() && text->is_object()) change(*text);
  change(config);
}

Json RewritePlan::config(DType online_dtype) const {
  Json config = model_.checkpoint().config();
  change_config(config);
  if (!quantization_ && online_.empty()) return config;
  const Json transforms =
      transform_config_.is_null() ? Json::object() : stored_transforms(transform_config_, online_, online_dtype);
  config["quantization_config"] = quantization_ ? to_json(*quantization_, transforms) : transforms_only(transforms);
  return config;
}

std::string RewritePlan::rotation_types() const {
  if (transform_config_.is_null()) return "";
  std::vector<std::string> types;
  for (const auto& [group, scheme] : transform_config_.at("config_groups").items())
    types.push_back(fmt::format("{} {}", group, scheme.at("type").get<std::string>()));
  return fmt::format("{}", fmt::join(types, ", "));
}

std::string RewritePlan::text(bool full) const {
  return plan_text(*this, full);
}

}  // namespace spinor
