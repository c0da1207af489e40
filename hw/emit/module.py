"""Write one module as Verilog for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from .design import Design, Instance
from .expression import ALONE, Expression, Operation, combine, concatenation, lines
from .keywords import RESERVED
from .rtlil import Chunk, Spec

__all__ = ["ModuleWriter"]

_LONGEST = 60  # characters of an expression inside another one
_WORDS = {
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "&": "and", "|": "or",
    "^": "xor", "~": "not", "+": "plus", "-": "minus",
}  # fmt: skip


class ModuleWriter:
    """Write a module: ports, declarations, expressions, registers, instances, outputs.

    A net that the source has no name for becomes part of the expression that uses it, if there is
    only one.

    Parameters
    ----------
    design : Design
        The module.
    order : sequence of str
        Nets and instances in the order of the source, named as in RTLIL.
    ports : mapping
        The ports of every module, in order.
    """

    def __init__(
        self, design: Design, order: Sequence[str], ports: Mapping[str, Sequence[str]]
    ) -> None:
        self._design = design
        self._ports = ports
        ranks = {name: index for index, name in enumerate(order)}
        self._rank = lambda name: ranks.get(name, len(ranks))
        self._instances = sorted(design.instances, key=lambda one: self._rank(f"\\{one.name}"))
        self._uses: dict[str, int] = {}
        self._find_uses()
        self._taken = RESERVED | {name[1:] for name in design.wires if self._is_port(name)}
        self._taken |= {instance.name for instance in self._instances}
        self._names = {name: name[1:] for name in design.wires if self._is_port(name)}
        self._defined: set[str] = set()
        self._definitions: list[str] = []
        self._read: dict[str, int] = {}  # the bits of a net that the text reads, as a mask
        self._reader = ""  # a name for a net that has none, from what reads it

    def text(self, module: str, comment: str) -> str:
        """Return the text of a module."""
        design = self._design
        registers = sorted(design.registers, key=self._rank)
        self._name_nets(registers)
        for name in sorted(design.values, key=self._rank):
            if name[0] == "\\" and name in self._uses and not self._is_port(name):
                self._define(name)
        parts = (
            [self._declaration("reg", name) for name in registers if not self._is_port(name)],
            [
                self._declaration("wire", net)
                for instance in self._instances
                for net in instance.outputs.values()
                if not self._is_port(net)
            ],
            self._definitions,
            [self._always(name) for name in registers],
            [self._instance(instance) for instance in self._instances],
            [self._assign(f"\\{name}") for name in self._ports[module]],
            [self._unused()],
        )
        body = "\n".join(text for part in parts if (text := "".join(part)))
        return f"{lines(0, f'// {comment}')}{self._head(module)}{body}endmodule\n"

    def _is_port(self, name: str) -> bool:
        return bool(self._design.wires[name].direction)

    # --- Which nets there are, and their names ---

    def _find_uses(self) -> None:
        """Count who reads each net; what nobody reads is left out."""
        design = self._design
        todo: list[Spec] = []
        for register in design.registers.values():
            todo += register
        for instance in self._instances:
            todo += instance.inputs.values()
        for name in design.wires:
            if self._is_port(name):
                todo += self._operands(name)
        while todo:
            for chunk in todo.pop():
                if not chunk.wire:
                    continue
                if chunk.wire not in self._uses and not self._is_port(chunk.wire):
                    todo += self._operands(chunk.wire)
                self._uses[chunk.wire] = self._uses.get(chunk.wire, 0) + 1

    def _operands(self, name: str) -> tuple[Spec, ...]:
        value = self._design.values.get(name, ())
        return value.operands if isinstance(value, Operation) else (value,)

    def _name_nets(self, registers: Sequence[str]) -> None:
        """Name registers as in the source, and the nets of instances after their ports."""
        for name in registers:
            self._name(name, name[1:])
        readers: dict[str, tuple[str, str]] = {}
        for instance in self._instances:
            for port, net in instance.outputs.items():
                unused = "" if net in self._uses or self._is_port(net) else "unused_"
                self._name(net, f"{unused}{instance.name}_{port}")
            for port, spec in instance.inputs.items():
                for chunk in spec:
                    readers.setdefault(chunk.wire, (instance.name, port))
        for name in self._design.values:
            if name[0] == "\\" and name in self._uses and not self._is_port(name):
                reader, port = readers.get(name, ("", "$"))
                if re.match(rf"\\{port}($|\$|_\d)", name):
                    self._name(name, f"{reader}_{name[1:]}")
                else:
                    self._name(name, name[1:])

    def _name(self, net: str, wish: str) -> str:
        """Name a net, and return its name."""
        if net not in self._names:
            wish = re.sub(r"\W+", "_", re.sub(r"\$\d+", "", wish)).strip("_")
            name, number = wish, 2
            while name in self._taken:
                name, number = f"{wish}_{number}", number + 1
            self._taken |= {name}
            self._names[net] = name
        return self._names[net]

    # --- Expressions ---

    def _value(self, name: str) -> Expression:
        """Return what a net is."""
        value = self._design.values[name]
        if not isinstance(value, Operation):
            return concatenation(value, self._show)
        operands = [
            self._value(spec[0].wire)
            if self._is_inside(spec) and self._continues(value, index, spec[0].wire)
            else concatenation(spec, self._show)
            for index, spec in enumerate(value.operands)
        ]
        return combine(value, operands)

    def _is_inside(self, spec: Spec) -> bool:
        """Return whether a value is a net that only this expression uses, and has no name."""
        chunk = spec[0]
        return (
            len(spec) == 1
            and chunk.wire not in self._names
            and chunk.wire in self._design.values
            and self._uses[chunk.wire] == 1
            and chunk.width == self._design.wires[chunk.wire].width
        )

    def _continues(self, value: Operation, index: int, inner: str) -> bool:
        """Return whether an operand is part of a chain: ``a & b & c``, ``s ? a : t ? b : c``."""
        operand = self._design.values[inner]
        if not isinstance(operand, Operation) or operand.operator in ALONE:
            return False
        if value.operator == "?":
            return index == 2
        return value.operator in "&|^" and operand.operator == value.operator

    def _show(self, chunk: Chunk) -> Expression:
        """Return bits of a net as an operand; a net that is no operator's only has a name."""
        if self._is_inside((chunk,)):
            value = self._value(chunk.wire)
            if len(value.text) <= _LONGEST and value.operator not in ALONE:
                return value
            self._define(chunk.wire, value)
        elif chunk.wire in self._design.values and not self._is_port(chunk.wire):
            self._define(chunk.wire)
        mask = (1 << chunk.width) - 1 << chunk.low
        self._read[chunk.wire] = self._read.get(chunk.wire, 0) | mask
        return self._bits(chunk)

    def _bits(self, chunk: Chunk) -> Expression:
        """Return bits of a net that has a name."""
        name, width = self._names[chunk.wire], chunk.width
        if width == self._design.wires[chunk.wire].width:
            return Expression(name)
        high = "" if width == 1 else f"{chunk.low + width - 1}:"
        return Expression(f"{name}[{high}{chunk.low}]")

    def _whole(self, spec: Spec) -> str:
        """Return a value as what stands alone on the right of an assignment."""
        if self._is_inside(spec):
            value = self._value(spec[0].wire)
            if value.operator not in ALONE:
                return value.text
        return concatenation(spec, self._show).text

    def _define(self, net: str, value: Expression | None = None) -> None:
        """Declare a combinational net, after those that it needs."""
        if net in self._defined:
            return
        self._defined.add(net)
        if net in self._names:
            with self._reading(self._names[net]):
                text = self._value(net).text
        else:
            text = (value or self._value(net)).text
            self._name(net, _described(text) or f"{self._reader}_term")
        self._definitions.append(lines(2, f"{self._declared('wire', net)} = {text};"))

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Name nets without a name after what reads them."""
        before, self._reader = self._reader, name
        yield
        self._reader = before

    # --- Statements ---

    def _declared(self, kind: str, net: str) -> str:
        width = self._design.wires[net].width
        return f"{kind} {f'[{width - 1}:0] ' if width > 1 else ''}{self._names[net]}"

    def _declaration(self, kind: str, net: str) -> str:
        return f"  {self._declared(kind, net)};\n"

    def _head(self, module: str) -> str:
        """Return the module's name and its ports."""
        ports = []
        for name in self._ports[module]:
            net = f"\\{name}"
            kind = "reg" if net in self._design.registers else "wire"
            ports.append(f"  {self._design.wires[net].direction:6} {self._declared(kind, net)}")
        return f"module {module} (\n" + ",\n".join(ports) + "\n);\n"

    def _always(self, name: str) -> str:
        """Return the statement of a register."""
        register = self._design.registers[name]
        clock = concatenation(register.clock, self._show).text
        target = Chunk(name, 0, self._design.wires[name].width)
        with self._reading(self._names[name]):
            return f"  always @(posedge {clock})\n{self._take(target, register.data, 4)}"

    def _take(self, target: Chunk, data: Spec, indent: int, before: str = "") -> str:
        """Return the statements after which a register is `data`, with ``else`` before them."""
        if self._is_inside(data) and self._may_hold(target, data):
            value = self._design.values[data[0].wire]
            assert isinstance(value, Operation)
            condition, yes, no = value.operands
            test = concatenation(condition, self._show)
            if yes == (target,):
                test, yes, no = combine(Operation("~", (condition,)), [test]), no, yes
            head = f"{before}if ({test.text})"
            if self._is_inside(yes) and self._may_hold(target, yes):
                text = lines(indent, f"{head} begin")
                text += self._take(target, yes, indent + 2) + f"{' ' * indent}end\n"
            else:
                text = self._take(target, yes, indent, f"{head} ")
            return text if no == (target,) else text + self._take(target, no, indent, "else ")
        return lines(indent, f"{before}{self._bits(target).text} <= {self._whole(data)};")

    def _may_hold(self, target: Chunk, data: Spec) -> bool:
        """Return whether a register can stay as it is, or be reset: that is an ``if``."""
        if data == (target,):
            return True
        value = self._design.values.get(data[0].wire) if self._is_inside(data) else None
        if not isinstance(value, Operation) or value.operator != "?":
            return False
        condition, yes, no = value.operands
        is_reset = condition[0].wire == "\\rst"
        return is_reset or self._may_hold(target, yes) or self._may_hold(target, no)

    def _instance(self, instance: Instance) -> str:
        """Return an instance, with the ports in the order of its module.

        Raises
        ------
        ValueError
            If its name is reserved: nets are called otherwise then, a part's name is its author's.
        """
        if instance.name in RESERVED:
            raise ValueError(f"a part of {instance.module} is called {instance.name!r}, a keyword")
        ports = []
        for port in self._ports[instance.module]:
            if port in instance.outputs:
                net = self._names[instance.outputs[port]]
            else:
                with self._reading(f"{instance.name}_{port}"):
                    net = concatenation(instance.inputs[port], self._show).text
            ports.append(lines(4, f".{port}({net}),"))
        ports[-1] = ports[-1].replace("),\n", ")\n")
        return f"  {instance.module} {instance.name} (\n{''.join(ports)}  );\n"

    def _assign(self, port: str) -> str:
        if port not in self._design.values:
            return ""
        with self._reading(port[1:]):
            return lines(2, f"assign {port[1:]} = {self._value(port).text};")

    def _unused(self) -> str:
        """Return a net of all bits that nothing reads, which says so to people and to lint."""
        items = [
            text
            for net in [name for name in self._design.wires if name in self._names]
            if not self._names[net].startswith("unused_")
            and self._design.wires[net].direction != "output"
            for text in self._unread(net)
        ]
        if not items:
            return ""
        name = self._name("$unused", "unused")
        return "  // Nothing reads these bits.\n" + lines(
            2, f"wire {name} = &{{1'b0, {', '.join(items)}}};"
        )

    def _unread(self, net: str) -> Iterator[str]:
        """Yield the bits of a net that nothing reads."""
        width = self._design.wires[net].width
        unread = ~self._read.get(net, 0) & (1 << width) - 1
        for run in re.finditer("1+", f"{unread:b}"[::-1] if unread else ""):
            yield self._bits(Chunk(net, run.start(), run.end() - run.start())).text


def _described(text: str) -> str:
    """Return a name for a short expression, as in ``load_and_not_full``; nothing for others."""
    words = re.findall(r"\w+|[^\w\s()]+", re.sub(r"\b\d+'d(\d+)", r"\1", text))
    name = "_".join(_WORDS.get(word, word) for word in words)
    return name if len(name) <= 32 and name.isidentifier() else ""
