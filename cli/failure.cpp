#include "cli/failure.h"

#include <cerrno>
#include <new>

#include "cli/command.h"
#include "spinor/base/error.h"

namespace spinor::cli {
namespace {

Failure failure(const char* kind, const Error& error) {
  return {kind, error.subject(), error.problem(), error.hint()};
}

}  // namespace

Failure failure_of(const std::exception_ptr& thrown, const std::string& out_of_memory) {
  try {
    std::rethrow_exception(thrown);
  } catch (const CLI::ParseError& error) {
    return {"usage", "options", error.what(), ""};
  } catch (const NeedsTorch&) {
    return {"torch", "spinor", "cannot run models here", "use spinor-torch"};
  } catch (const SystemError& error) {  // a file that is not there was asked for
    return failure(error.number() == ENOENT || error.number() == ENOTDIR ? "input" : "system", error);
  } catch (const Stopped& error) {
    return failure("system", error);
  } catch (const Error& error) {
    return failure("input", error);
  } catch (const std::bad_alloc&) {
    return {"system", "memory", out_of_memory, ""};
  } catch (const std::exception& error) {
    return {"system", "spinor", error.what(), ""};
  }
}

}  // namespace spinor::cli
