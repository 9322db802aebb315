// What verify_weights() must know of multi-token prediction: an approximation stretches its stream, and it may be left
// out.
#pragma once

#include <vector>

#include "spinor/base/view.h"
#include "spinor/transform/mtp.h"

namespace spinor::verify {

class MtpView {
 public:
  // Reads norms.
  MtpView(const Model& source, const Model& output);

  // A module of heads that the output does not have.
  bool left_out(const Module& module) const { return left_out_ && module.role == Role::mtp; }
  // The source's, without what is left out, the language model's last.
  std::vector<Stream> streams() const;
  // What the source's writer puts into the stream, in rows, as the output has it but for the rotation.
  void stretch(const Module& writer, Matrix<double>& written) const;
  // Vectors of the source's stream as the output's readers behind this norm get them, but for the rotation.
  Matrix<double> seen(const Module* norm, Matrix<double> x) const;
  // How far the output norms are from what the head that reads them needs, relatively; one a head.
  std::vector<double> output_norm_errors() const;

 private:
  const Model& source_;
  const Model& output_;
  MtpFolding folding_;
  bool left_out_ = false, stretched_ = false;
};

}  // namespace spinor::verify
