// What capture found: an earlier run of the same job, or this one when it is asked for.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "spinor/learning/capture.h"
#include "spinor/learning/work_directory.h"

namespace spinor::learning {

// The name of CaptureOptions::rows_file in a work directory.
inline constexpr const char* kRowsFile = "rows";

class CaptureOnDemand {
 public:
  // In the directory statistics and outputs are kept, and rows that are in its file. Without one nothing is.
  CaptureOnDemand(WorkDirectory* directory, std::function<Capture()> capture);

  const Capture& rows();
  const std::map<std::string, std::vector<double>>& scales();  // by LegalScale::names()
  const std::map<std::string, std::vector<double>>& mass();    // by HiddenChannels::name
  // Capture::outputs, once it has been captured; undefined where it had none.
  at::Tensor outputs() const;
  void drop_rows();  // takes memory that others want; nobody asks for them again

 private:
  std::optional<Capture> find() const;

  WorkDirectory* directory_;
  std::function<Capture()> capture_;
  std::optional<Capture> found_;
  struct Found {
    std::map<std::string, std::vector<double>> scales, mass;
  };
  std::optional<Found> statistics_;

  const Found& statistics();
  static Snapshot snapshot_of(const Found& found);
  std::optional<Found> find_statistics() const;
  at::Tensor outputs_;  // only without a directory
};

}  // namespace spinor::learning
