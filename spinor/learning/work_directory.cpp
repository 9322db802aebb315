#include "spinor/learning/work_directory.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "spinor/base/error.h"
#include "spinor/io/whole_file.h"
#include "spinor/learning/learned_file.h"

namespace spinor::learning {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJobFile = "learning-job.json";  // what makes the directory one of ours
constexpr const char* kSuffix = ".safetensors";

// Nothing: there is none, or it is not ours.
std::optional<Json> read_job(const fs::path& directory) {
  try {
    const Json job = parse_json(read_text(directory / kJobFile), directory.string());
    if (job.is_object() && job.contains("job") && job.contains("process")) return job;
  } catch (const Error&) {
  }
  return {};
}

DirectoryLock::Holder worker_in(const fs::path& directory) {
  return [directory]() -> std::optional<int64_t> {
    const std::optional<Json> job = read_job(directory);
    return job ? std::optional(job->at("process").get<int64_t>()) : std::nullopt;
  };
}

// Whether there is anything that no run has begun with.
bool has_others(const fs::path& directory) {
  return std::ranges::any_of(fs::directory_iterator(directory), [](const fs::directory_entry& entry) {
    return !entry.path().filename().string().starts_with(kJobFile);
  });
}

fs::path directory_beside(const fs::path& file) {
  return fs::absolute(file).lexically_normal().string() + ".partial";
}

}  // namespace

WorkDirectory::WorkDirectory(const fs::path& file, const Json& job)
    : digest_(job_digest(job)), lock_(directory_beside(file), worker_in(directory_beside(file))) {
  try {
    with_system_errors([&] { begin(); });
  } catch (...) {
    std::error_code ignored;
    if (lock_.created()) fs::remove_all(lock_.path(), ignored);
    throw;
  }
}

WorkDirectory::~WorkDirectory() {
  std::error_code ignored;
  if (empty()) fs::remove_all(lock_.path(), ignored);
}

void WorkDirectory::begin() {
  const std::optional<Json> earlier = read_job(lock_.path());
  if (!earlier && has_others(lock_.path()))
    throw Error(lock_.path().string(), "is in the way, and no run that learns has made it",
                "move it away, or choose another output");
  if (earlier && earlier->at("job") != digest_) clear();
  write_text(path(kJobFile), Json{{"job", digest_}, {"process", getpid()}}.dump());
}

bool WorkDirectory::empty() const {
  std::error_code ignored;
  return std::ranges::none_of(fs::directory_iterator(lock_.path(), ignored),
                              [](const fs::directory_entry& entry) { return entry.path().extension() == kSuffix; });
}

void WorkDirectory::clear() {
  with_system_errors([&] {
    for (const auto& entry : fs::directory_iterator(lock_.path()))
      if (entry.path().filename() != kJobFile) fs::remove_all(entry.path());
  });
}

std::optional<Snapshot> WorkDirectory::find(const std::string& name) const {
  const fs::path file_path = path(name + kSuffix);
  if (!fs::exists(file_path)) return {};
  const File file = File::open(file_path);
  const SafetensorsHeader header = read_safetensors_header(file);
  Snapshot snapshot{.json = parse_json(header.metadata.at("json"), file_path.string())};
  for (const TensorInfo& info : header.tensors) {
    const at::Tensor tensor = at::empty(info.shape, info.dtype == DType::F64 ? at::kDouble : at::kFloat);
    file.read(info.begin, {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()});
    snapshot.tensors[info.name] = tensor;
  }
  return snapshot;
}

void WorkDirectory::save(const std::string& name, const Snapshot& snapshot) {
  std::vector<at::Tensor> held;  // until they are written
  std::vector<TensorBytes> tensors;
  for (const auto& [key, tensor] : snapshot.tensors) {
    held.push_back(tensor.to(at::kCPU).contiguous());
    const DType dtype = tensor.scalar_type() == at::kDouble ? DType::F64 : DType::F32;
    tensors.push_back({{.name = key, .dtype = dtype, .shape = tensor.sizes().vec()},
                       {static_cast<const std::byte*>(held.back().const_data_ptr()), tensor.nbytes()}});
  }
  write_safetensors(path(name + kSuffix), tensors, {{"json", snapshot.json.dump()}});
}

void WorkDirectory::drop(const std::string& name) {
  with_system_errors([&] { fs::remove(path(name + kSuffix)); });
}

double once(WorkDirectory* directory, const std::string& name, const std::function<double()>& work) {
  if (directory)
    if (const std::optional<Snapshot> found = directory->find(name)) return found->json.get<double>();
  const double number = work();
  if (directory && std::isfinite(number)) directory->save(name, {.json = number});
  return number;
}

}  // namespace spinor::learning
