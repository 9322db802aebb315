// What shall become of each tensor: a value that can be printed, compared and tested, not yet executed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "spinor/model/model.h"
#include "spinor/model/transform_location.h"
#include "spinor/plan/edit.h"
#include "spinor/quant/config.h"

namespace spinor {

enum class Precision { float32, float64 };

struct TensorPlan {
  std::string name;  // in the output
  const CheckpointTensor* source = nullptr;
  WeightShape shape = {};   // edits are of W (out, in), whatever way it is stored
  std::vector<Edit> edits;  // in the order they happen; none: the bytes are copied
  // The first so many edits only move the source's online transforms into its weights: with them the plan computes what
  // the source does.
  size_t restoring = 0;
};

// A transform that must be applied when the model runs.
struct OnlineTransform {
  std::string module, group;
  TransformLocation location = TransformLocation::input;
  Rotation r;  // x <- x blockdiag(r), x the activations in rows
};

// The scales of activations that are found with data, of a static scheme: tensors of the output beside a module.
struct CalibratedActivation {
  std::string module;  // a linear; for keys and values an attention: "model.layers.0.self_attn"
  std::string place;   // "input", "output", "k" or "v"
  int64_t layer = -1;  // -1: outside of the layers
  QuantizationArgs args;
};

class RewritePlan {
 public:
  // Nothing changes yet: every tensor of the checkpoint, unedited, in the order of the modules (the rest comes last).
  // Error for a source that runs transforms online, as this plan would drop them: start_plan()
  // (transform/stored_online.h) makes one of any source.
  explicit RewritePlan(const Model& model);

  const Model& model() const { return model_; }
  Precision precision() const { return precision_; }  // arithmetic of all edits; one rounding at the end

  const std::vector<TensorPlan>& tensors() const { return tensors_; }
  const std::vector<OnlineTransform>& online() const { return online_; }
  // Every transform that was applied, fused or online, as compressed-tensors' transform_config; null: none.
  const Json& transform_config() const { return transform_config_; }
  // What the Quantize edits amount to; absent: nothing is stored quantized.
  const std::optional<QuantizationConfig>& quantization() const { return quantization_; }
  // In the order of the modules.
  const std::vector<CalibratedActivation>& calibrated() const { return calibrated_; }
  bool untied() const { return untied_; }
  bool dropped_mtp() const { return dropped_mtp_; }
  // Grows whenever something is changed.
  int64_t revision() const { return revision_; }
  // What cannot be computed without running the model: "model.layers.0.mlp.up_proj.weight"; empty if nothing is.
  std::string needs_data() const;

  // Sets the precision, where that is not less than what somebody who has edited already asked for.
  void ask_for(Precision wanted);
  // null: there is none of this name.
  const TensorPlan* find(std::string_view tensor) const;
  // Appends an edit to the tensor of a module: its weight, or its bias. Of a part, only its rows are multiplied. An
  // edit of the weight of a tied head or of a tied embedding before untie() is an Error.
  void edit_weight(const Module& module, Edit edit);
  void edit_bias(const Module& module, Edit edit);
  // Calls `edit`, whose products transforms of the same module undo online. The transform of a later group meets the
  // weight first, as its hook runs first on an input and last on an output; so from now on, products on the same side
  // go before these, and all else that changes the function goes before both.
  void edit_undone_online(const std::function<void()>& edit);
  void add_online(OnlineTransform transform);
  std::vector<OnlineTransform> take_online();  // none are left; nor are products that they undo
  void mark_restoring();                       // all edits so far; see TensorPlan
  void set_transform_config(Json config);
  void set_quantization(QuantizationConfig config);
  void calibrate(CalibratedActivation activation);
  // Weights that would be stored quantized become the numbers that their codes stand for. Scales are in `scale_dtype`,
  // or in the source's dtype. Error if that needs data.
  void dequantize(std::optional<DType> scale_dtype = {});
  // The same plan, quantizing nothing.
  RewritePlan unquantized() const;
  // Gives a tied head its own tensor, a copy of the embedding with no edits. Nothing to do when not tied.
  void untie();
  // Leaves out the tensors of multi-token prediction, and says so in config.json. Their edits change nothing any more.
  void drop_mtp();

  // config.json of the output: the source's with only what changed changed. quantization_config is there when something
  // is stored quantized or a transform runs online; online transforms are in `online_dtype`.
  Json config(DType online_dtype = DType::F32) const;
  // One line a tensor: name, shape, dtype, edits. Consecutive layers whose lines are alike are printed once, as
  // "model.layers.{0-15}. ...", unless `full`. Then the online transforms, the types of all, and what changes in
  // config.json.
  std::string text(bool full = false) const;
  // "R1 random-hadamard, R2 hadamard": each group of the transform_config and its type; empty: none.
  std::string rotation_types() const;

 private:
  struct WithoutOnline {};
  RewritePlan(const Model& model, WithoutOnline);
  friend RewritePlan as_stored(const Model& model);  // puts the source's online transforms in

  void change_config(Json& config) const;
  void add(const std::string& name, const CheckpointTensor& source, WeightShape shape);
  void add(Edit edit, std::vector<Edit>& edits) const;
  TensorPlan& at(std::string_view tensor);
  Model model_;
  std::vector<TensorPlan> tensors_;
  std::map<std::string, size_t, std::less<>> index_;  // by name
  std::vector<OnlineTransform> online_;
  Json transform_config_;
  std::optional<QuantizationConfig> quantization_;
  std::vector<CalibratedActivation> calibrated_;
  Precision precision_ = Precision::float64;
  bool untied_ = false, dropped_mtp_ = false, undone_online_ = false;
  int64_t revision_ = 0;
};

}  // namespace spinor
