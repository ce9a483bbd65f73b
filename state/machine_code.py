"""How numba turns kernels into machine code, changed in two ways.

Left alone it translates each function on its own, also one that was made only to be copied into its callers;
and the copies in several callers are one symbol: whichever was loaded first serves all of them, optimised as
it was there, so that the last bits of a reordered sum hung on what a process had compiled or loaded before.
Here a function is translated when Python asks for it, and its copies of others are its own.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary, JITCPUCodegen, RuntimeLinker
from numba.core.environment import lookup_environment
from numba.core.runtime.nrt import rtsys


class _Library(JITCodeLibrary):
    """One function with all that it calls."""

    _waiting = False

    def get_pointer_to_function(self, name: str) -> int:
        base: Any = super()
        base._ensure_finalized()
        if self._waiting and any(function.name == name for function in self._final_module.functions):
            self._translate()
        return int(base.get_pointer_to_function(name))

    def serialize_using_object_code(self) -> object:
        """Also of what has no machine code: for callers that are compiled later."""
        base: Any = super()
        return base.serialize_using_bitcode() if self._waiting else base.serialize_using_object_code()

    def _finalize_final_module(self) -> None:
        base: Any = super()
        from_disk = self._object_caching_enabled and self._compiled_object is not None
        if from_disk:
            base._finalize_final_module()
        elif self._in_a_ring():
            runtime: Any = rtsys.library
            runtime.get_pointer_to_function("nrt_unresolved_abort")  # numba asks for it halfway through
            base._finalize_final_module()
        else:
            base._finalize_dynamic_globals()
            self._finalized = self._waiting = True

    def _translate(self) -> None:
        base: Any = super()
        codegen: Any = self._codegen
        environment_of: Any = lookup_environment
        base._get_module_for_linking()  # what callers are given stays as it was
        self._waiting = False
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage.name == "linkonce_odr":
                function.linkage = "internal"  # whatever else is loaded, what is called is what is here
        base._finalize_final_module()
        for variable in self._final_module.global_variables:
            environment = environment_of(variable.name)
            if environment is not None:
                codegen.set_env(variable.name, environment)

    def _in_a_ring(self) -> bool:
        """Functions that call each other find each other by name once they are loaded."""
        variables = self._final_module.global_variables
        return any(variable.name.startswith(RuntimeLinker.PREFIX) for variable in variables)


def install() -> None:
    """From here on, for all that numba compiles in this process."""
    codegen: Any = JITCPUCodegen
    if codegen._library_class is _Library:
        return
    set_env = codegen.set_env

    def set_where_loaded(self: Any, name: str, environment: object) -> None:
        if self._engine.is_symbol_defined(name):
            set_env(self, name, environment)

    codegen._library_class, codegen.set_env = _Library, set_where_loaded
