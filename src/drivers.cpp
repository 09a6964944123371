// The only file that names concrete drivers: URL scheme -> factory.
#include <errand/drivers.hpp>
