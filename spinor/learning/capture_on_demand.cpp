#include "spinor/learning/capture_on_demand.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "spinor/base/error.h"

namespace spinor::learning {
namespace {

constexpr const char *kRows = "capture.rows", *kStatistics = "capture.statistics", *kOutputs = "capture.outputs";
constexpr std::string_view kScale = "scale.", kMass = "mass.";

// Calls visit(name, rows) for all that a capture has: "learn.stream", "judge.values.3".
template <typename Captured, typename Visit>
void for_row_sets(Captured& capture, Visit visit) {
  for (auto [part, captured] : {std::pair("learn", &capture.learn), std::pair("judge", &capture.judge)}) {
    if (captured->stream.rows.defined()) visit(fmt::format("{}.stream", part), captured->stream);
    for (auto& [layer, values] : captured->values) visit(fmt::format("{}.values.{}", part, layer), values);
  }
}

RowSet& row_set_of(Capture& capture, const std::string& name) {
  CapturedRows& part = name.starts_with("learn") ? capture.learn : capture.judge;
  const size_t layer = name.find("values.");
  return layer == std::string::npos ? part.stream : part.values[std::stoi(name.substr(layer + 7))];
}

// Of rows that are in the file of the directory; nothing: they are in memory.
std::optional<Snapshot> places_of(const Capture& capture) {
  Snapshot places;
  bool in_file = false;
  for_row_sets(capture, [&](const std::string& name, const RowSet& set) {
    const RowsInFile& stored = set.rows.stored();
    in_file |= stored.file != nullptr;
    places.json[name] = {stored.begin, stored.count, stored.width};
    places.tensors[name] = set.weights;
  });
  return in_file ? std::optional(std::move(places)) : std::nullopt;
}

}  // namespace

CaptureOnDemand::CaptureOnDemand(WorkDirectory* directory, std::function<Capture()> capture)
    : directory_(directory), capture_(std::move(capture)) {}

std::optional<Capture> CaptureOnDemand::find() const {
  const std::optional<Snapshot> places = directory_->find(kRows);
  if (!places || !std::filesystem::exists(directory_->path(kRowsFile))) return {};
  const auto file = std::make_shared<const File>(File::open(directory_->path(kRowsFile)));
  Capture capture;
  for (const auto& [name, weights] : places->tensors) {
    const Json& place = places->json.at(name);
    row_set_of(capture, name) = {Rows(RowsInFile{file, place[0], place[1], place[2]}), weights};
  }
  return capture;
}

const Capture& CaptureOnDemand::rows() {
  if (found_) return *found_;
  if (directory_) found_ = find();
  if (found_) return *found_;
  found_ = capture_();
  statistics_ = Found{found_->scales, found_->mass};
  outputs_ = std::exchange(found_->outputs, {});
  if (!directory_) return *found_;
  // In this order: where there are rows, there are statistics, and where there are these, there are outputs.
  if (outputs_.defined()) directory_->save(kOutputs, {.tensors = {{kOutputs, outputs_}}, .json = {}});
  outputs_.reset();
  directory_->save(kStatistics, snapshot_of(*statistics_));
  if (const std::optional<Snapshot> places = places_of(*found_)) directory_->save(kRows, *places);
  return *found_;
}

Snapshot CaptureOnDemand::snapshot_of(const Found& found) {
  Snapshot snapshot;
  for (const auto& [prefix, vectors] : {std::pair(kScale, &found.scales), std::pair(kMass, &found.mass)})
    for (const auto& [name, values] : *vectors)
      snapshot.tensors[std::string(prefix) + name] = at::tensor(values, at::kDouble);
  return snapshot;
}

std::optional<CaptureOnDemand::Found> CaptureOnDemand::find_statistics() const {
  const std::optional<Snapshot> snapshot = directory_->find(kStatistics);
  if (!snapshot) return {};
  Found found;
  for (const auto& [name, values] : snapshot->tensors) {
    const bool scale = name.starts_with(kScale);
    (scale ? found.scales : found.mass)[name.substr(scale ? kScale.size() : kMass.size())] = {
        values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
  }
  return found;
}

const CaptureOnDemand::Found& CaptureOnDemand::statistics() {
  if (!statistics_ && directory_) statistics_ = find_statistics();
  if (!statistics_) rows();
  return *statistics_;
}

const std::map<std::string, std::vector<double>>& CaptureOnDemand::scales() {
  return statistics().scales;
}
const std::map<std::string, std::vector<double>>& CaptureOnDemand::mass() {
  return statistics().mass;
}

at::Tensor CaptureOnDemand::outputs() const {
  if (!directory_) return outputs_;
  const std::optional<Snapshot> found = directory_->find(kOutputs);
  return found ? found->tensors.at(kOutputs) : at::Tensor();
}

void CaptureOnDemand::drop_rows() {
  found_.reset();
}

}  // namespace spinor::learning
