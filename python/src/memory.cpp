#include "python/src/memory.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "python/src/run.h"
#include "spinor/base/dtype.h"
#include "spinor/base/json.h"
#include "spinor/job/job.h"
#include "spinor/model/hub.h"
#include "spinor/plan/in_place.h"
#include "spinor/plan/stored_edits.h"
#include "spinor/transform/factory.h"
#include "spinor/transform/stored_online.h"

namespace spinor::python {
namespace {

// Name, dtype ("BF16"), shape, strides in bytes, address; 0: it lies elsewhere.
using Described = std::tuple<std::string, std::string, std::vector<int64_t>, std::vector<int64_t>, uintptr_t>;

// Tiles of what lies elsewhere, by Python's copy(name, row, rows, begin, width, address, to_host).
TileCopy copy_by(const nb::callable& copy, const std::string& name) {
  return [&copy, name](const MemoryTile& tile, std::byte* host, bool to_host) {
    const nb::gil_scoped_acquire held;
    try {
      copy(name, tile.row, tile.rows, tile.begin, tile.width, reinterpret_cast<uintptr_t>(host), to_host);
    } catch (nb::python_error& error) {
      const auto text = [](nb::handle object) { return std::string(nb::str(object).c_str()); };
      throw Error(name, "cannot be copied: " + text(error.type().attr("__name__")) + ": " + text(error.value()));
    }
  };
}

// `copy` must stay.
MemoryTensor tensor_of(const Described& described, const nb::callable& copy) {
  const auto& [name, dtype, shape, strides, address] = described;
  const DTypeInfo* found = find_dtype(dtype);
  if (!found) throw Error(name, "is of " + dtype + ", which spinor does not know");
  MemoryTensor tensor = MemoryTensor::of(name, found->dtype, shape, reinterpret_cast<std::byte*>(address), strides);
  if (address == 0) tensor.copy = copy_by(copy, name);
  return tensor;
}

Json numbers(const Matrix<double>& matrix) {
  Json rows = Json::array();
  for (int64_t i = 0; i < matrix.rows; ++i)
    rows.push_back(std::vector<double>(matrix.view().row(i), matrix.view().row(i) + matrix.cols));
  return rows;
}

// As python/spinor/_online.py takes them.
Json factors_of(const Rotation& r) {
  Json json = {{"size", r.size()}, {"transposed", r.is_transposed()}};
  if (r.is_dense()) {
    json["transposed"] = false;
    json["matrix"] = numbers(r.matrix());
    return json;
  }
  const Rotation::Factors factors = r.factors();
  json["base"] = numbers(factors.base);
  if (!factors.signs.empty()) json["signs"] = factors.signs;
  if (!r.permutation().empty()) json["order"] = r.permutation();
  return json;
}

// Those that several places share are told once.
struct Matrices {
  std::vector<Rotation> told = {};
  Json json = Json::array();

  int64_t index_of(const Rotation& r) {
    const auto found = std::ranges::find_if(told, [&](const Rotation& other) { return other.same_as(r); });
    const int64_t index = found - told.begin();
    if (found == told.end()) {
      told.push_back(r);
      json.push_back(factors_of(r));
    }
    return index;
  }
};

// Modules by their names in memory.
Json online_of(const RewritePlan& plan) {
  Matrices matrices;
  Json places = Json::array();
  for (const OnlineTransform& online : plan.online()) {
    const Module* module = plan.model().find(online.module);
    places.push_back(
        {module->name_in_memory(), online.group, std::string(name_of(online.location)), matrices.index_of(online.r)});
  }
  return {{"matrices", matrices.json}, {"places", places}};
}

// A matrix of a transform type, as a seed draws it.
nb::tuple rotation(const std::string& type, int64_t size, uint64_t seed) {
  return run_at_once([&] {
    Random random(seed);
    return factors_of(find_transform_type(type).make({.size = size}, random));
  });
}

// What a checkpoint runs online.
nb::tuple stored_online(const std::string& model, const nb::callable& listener) {
  return run_to_its_end(
      task([&](const cli::Context&) { return cli::Result{online_of(as_stored(Model::open(model))), "", ""}; }),
      listener);
}

// One model and what shall become of it.
class MemoryJob {
 public:
  MemoryJob(std::string config, std::vector<Described> tensors, std::string recipe, nb::callable copy)
      : copy_(std::move(copy)), config_(std::move(config)), tensors_(std::move(tensors)), recipe_(std::move(recipe)) {}

  nb::tuple plan(const nb::callable& listener) {
    return run_to_its_end(task([this](const cli::Context&) { return make_plan(); }), listener);
  }

  nb::tuple products(const nb::callable& listener) {
    return run_to_its_end(
        task([this](const cli::Context&) { return cli::Result{products_of(job_->finished_plan()), "", ""}; }),
        listener);
  }

  nb::tuple rewrite(std::vector<Described> added, int threads, const nb::callable& listener) {
    return run_to_its_end(
        task([&](const cli::Context& context) { return rewrite_as_planned(added, threads, context); }), listener);
  }

  // Where the work ended halfway, what was done; also where an exception of Python's ended it.
  nb::str ended() const { return text(ended_.dump()); }

 private:
  nb::callable copy_;
  std::string config_;
  std::vector<Described> tensors_;
  std::string recipe_;
  std::unique_ptr<Job> job_;
  Json ended_ = Json::object();

  cli::Result make_plan() {
    std::vector<MemoryTensor> tensors;
    for (const Described& tensor : tensors_) tensors.push_back(tensor_of(tensor, copy_));
    const Checkpoint checkpoint = Checkpoint::of_memory("model", parse_json(config_, "config"), std::move(tensors));
    job_ =
        std::make_unique<Job>(Model::describe(checkpoint, {.accept_unknown = true}), Recipe::parse(recipe_, "recipe"));
    const RewritePlan& plan = job_->finished_plan();
    Json added = Json::array(), edited = Json::array();
    for (const TensorPlan& tensor : plan.tensors()) {
      if (tensor.name != tensor.source->info.name) added.push_back({tensor.name, tensor.source->info.name});
      if (!tensor.edits.empty()) edited.push_back(tensor.name);
    }
    return {.json = {{"added", added},
                     {"edited", edited},
                     {"online", online_of(plan)},
                     {"config", plan.config()},
                     {"rotations", plan.rotation_types()},
                     {"recipe", job_->recipe_json()},
                     {"untied", plan.untied()},
                     {"warnings", job_->warnings()}},
            .text = plan.text(),
            .problem = {}};
  }

  // What is multiplied onto each tensor as it is stored, whose rotations run in no other place.
  static Json products_of(const RewritePlan& plan) {
    Matrices matrices;
    Json places = Json::array();
    const auto add = [&](const TensorPlan& tensor, const auto& edit, bool columns) {
      Json part = edit.part ? Json({edit.part->begin, edit.part->size, edit.part->period}) : Json();
      if (!edit.undone_online && !edit.r.is_reordering())
        places.push_back({tensor.name, columns, edit.label, std::move(part), matrices.index_of(edit.r)});
    };
    for (const TensorPlan& tensor : plan.tensors())
      for (const Edit& edit : stored_edits(tensor)) {
        if (const auto* right = std::get_if<MultiplyRight>(&edit)) add(tensor, *right, true);
        if (const auto* left = std::get_if<MultiplyLeft>(&edit)) add(tensor, *left, false);
      }
    return {{"matrices", matrices.json}, {"places", places}};
  }

  cli::Result rewrite_as_planned(const std::vector<Described>& added, int threads, const cli::Context& context) {
    InPlaceOptions options{.threads = threads, .stop = context.stop};
    for (const Described& tensor : added) options.added.emplace(std::get<0>(tensor), tensor_of(tensor, copy_));
    options.progress = [&](const SaveProgress& p) { context.progress("rotate", p.bytes_done, p.bytes_total); };
    try {
      rewrite_in_place(job_->finished_plan(), options);
    } catch (const PartlyRewritten& error) {
      ended_ = {{"rewritten", error.rewritten()}, {"damaged", error.damaged()}};
      return {.json = ended_, .text = {}, .problem = error.what()};
    }
    return {.json = Json::object(), .text = {}, .problem = {}};
  }
};

}  // namespace

void define_memory(nb::module_& module) {
  module.def("stored_online", &stored_online, nb::arg("model"), nb::arg("listener"),
             "The matrices and places of what a checkpoint runs online. Returns as run().");
  module.def(
      "resolve_model",
      [](const std::string& model) {
        return run_at_once([&] { return Json{{"directory", resolve_model(model).string()}}; });
      },
      nb::arg("model"), "The directory of a model, which may be org/name. Returns as run().");
  module.def("rotation", &rotation, nb::arg("type"), nb::arg("size"), nb::arg("seed"),
             "A matrix of a transform type. Returns as run().");
  nb::class_<MemoryJob>(
      module, "MemoryJob",
      "A model's tensors (name, dtype, shape, strides in bytes, address) and a recipe for it. Those at the "
      "address 0 are copied by copy(name, row, rows, begin, width, address, to_host).")
      .def(nb::init<std::string, std::vector<Described>, std::string, nb::callable>(), nb::arg("config"),
           nb::arg("tensors"), nb::arg("recipe"), nb::arg("copy"))
      .def("plan", &MemoryJob::plan, nb::arg("listener"), "What shall be done. Returns as run().")
      .def("products", &MemoryJob::products, nb::arg("listener"),
           "After plan(): what is multiplied onto each tensor. Returns as run().")
      .def("ended", &MemoryJob::ended, "What rewrite() has done where it ended halfway, as JSON.")
      .def("rewrite", &MemoryJob::rewrite, nb::arg("added"), nb::arg("threads"), nb::arg("listener"),
           "Does it. `added`: where tensors go that the model does not have. Returns as run().");
}

}  // namespace spinor::python
