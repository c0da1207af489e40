"""How long a program takes, to the cycle: the control of the machine, without its data.

Every counter and state of the gateware that decides *when* something happens has its place here,
under the name that it has there; addresses and values have none. Memory answers a read after a
fixed latency, one beat per cycle, and takes writes at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hw.accelerator.combiner import ENTRIES, Mode
from hw.accelerator.config import BURST, AcceleratorConfig
from hw.accelerator.fetcher import OUTSTANDING
from hw.accelerator.header import HEADER
from hw.accelerator.jobs import Kind, job_words, parameter_words
from hw.accelerator.requantizer import lane_steps, wide_steps
from hw.control.rules import wave_steps
from report.errors import Failure

from .addresses import reads, writes
from .jobs import Job

__all__ = ["Timing", "simulate"]

#: Cycles without anything that moves, after which nothing ever will.
_PATIENCE = 100_000


@dataclass(kw_only=True)
class Timing:
    """When everything happens.

    Parameters
    ----------
    cycles : int
        From the start to the end of the run.
    begins : list of int
        Cycle in which each job begins.
    counters : dict of str to int
        As of the registers.
    """

    cycles: int = 0
    begins: list[int] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)


class _Fetcher:
    """As `hw.accelerator.fetcher.Fetcher`."""

    def __init__(self, size: int) -> None:
        self.per_burst = BURST // size
        self.start = self.left = self.length = self.waiting = 0
        self.valid = False

    @property
    def busy(self) -> bool:
        return self.valid or self.left > 0 or self.waiting > 0

    def clock(self, asked: bool, beat: bool, room: int) -> None:
        """Go through a clock edge: its address was taken, a beat came, and there is room."""
        if asked:
            self.valid = False
            self.start += self.length
            self.left -= self.length
            self.waiting += self.length
        elif not self.valid and self.left:
            fits = min(self.left, self.per_burst - self.start % self.per_burst)
            if fits <= room and self.waiting <= (OUTSTANDING - 1) * self.per_burst:
                self.valid, self.length = True, fits
        if beat:
            self.waiting -= 1

    def begin(self, start: int, beats: int) -> None:
        """Begin with a range."""
        self.start, self.left = start, beats


class _Ring:
    """As `hw.accelerator.ring.Ring`."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.held = self.words = self.times = self.offset = 0
        self.busy = self.valid = False

    def clock(self, pop: bool, push: bool, block: tuple[int, int] | None) -> bool:
        """Go through a clock edge; return whether the block was taken."""
        stays = self.valid and not pop
        read = self.busy and self.offset < self.held and not stays
        last = self.times == 1
        ends = self.words == 1 if last else self.offset + 1 == self.words
        frees = read and last
        free = not self.busy or (frees and ends)
        self.valid = read or stays
        if read:
            self.offset = 0 if ends or last else self.offset + 1
            if ends:
                self.times -= 1
        if frees:
            self.words -= 1
            if ends:
                self.busy = False
        taken = block is not None and free
        if taken:
            assert block is not None
            self.busy = True
            self.words, self.times = block
        self.held += push - frees
        return taken


class _Storer:
    """As `hw.accelerator.storer.Storer`, with a memory that is always ready."""

    def __init__(self, size: int) -> None:
        self.per_burst = BURST // size
        self.left = self.beat = 0
        # Beats in both steps of the way: whether each is the last one of its burst.
        self.coming: bool | None = None
        self.front: bool | None = None
        self.begun = self.shown = False
        self.answers = 0
        self.b: deque[int] = deque()
        self.written = 0

    @property
    def busy(self) -> bool:
        there = self.coming is not None or self.front is not None
        return bool(self.left or there or self.shown or self.answers)

    def clock(self, now: int) -> None:
        """Go through a clock edge."""
        answered = bool(self.b) and self.b[0] <= now
        if answered:
            self.b.popleft()
        pop = self.front is not None and self.begun
        last = bool(pop and self.front)
        taken = self.shown
        self.begun &= not last
        if self.front is None or pop:
            self.front, self.coming = self.coming, None
            if self.left:
                at_end = self.beat % self.per_burst == self.per_burst - 1 or self.left == 1
                self.coming = at_end
                self.left -= 1
                self.beat += 1
        self.written += pop
        self.shown = self.front is not None and not self.begun
        self.begun |= self.shown
        if last:
            self.b.append(now + 1)
        self.answers += taken - answered

    def begin(self, start: int, beats: int) -> None:
        """Begin with a range."""
        self.left, self.beat = beats, start


class _Work:
    """A job as numbers."""

    def __init__(self, job: Job, config: AcceleratorConfig, size: int) -> None:
        f = job.fields
        array = config.array
        self.job = job
        self.kind = job.kind
        self.rounds = f.get("rounds", 0)
        self.depth, self.times = f.get("depth", 0), f.get("times", 0)
        self.overlap = bool(f.get("overlap", 0))
        self.mode = job.own["combine"]["mode"] if job.kind == Kind.COMBINE else None
        self.hold = self.mode == Mode.HOLD
        self.words = self.results = 0
        self.blocks = self.rounds  # of weights
        if job.kind == Kind.GEMM:
            read = job.own["read"]
            large, pixels = read["large"], read["pixels"]
            self.sizes = [pixels + (n < large) for n in range(read["tiles"])]
            self.lengths = [read["length"] + (n < read["long"]) for n in range(read["words"])]
            self.lengths *= read["runs"]
            self.words = self.rounds * sum(self.sizes) * len(self.lengths)
        elif job.kind == Kind.STREAM:
            read = job.own["read"]
            self.passes, self.folds, self.last = read["passes"], read["folds"], read["last"]
            self.taps, self.bands = read["depth"], read["bands"]
            cols = array.cols
            one = cols - 1 + self.taps
            signal = (
                one + (self.folds - 1) * cols
                if self.passes == 1
                else self.folds * self.passes * one
            )
            self.words = self.rounds * self.bands * signal
        elif job.kind == Kind.COMBINE:
            read = job.own["read"]
            self.words = read["tiles"] * read["pixels"] * read["rows"] * read["words"]
            self.per_result = job.own["combine"].get("depth", 0) if self.mode == Mode.MOST else 1
            self.results = read["tiles"] * read["pixels"] if not self.hold else 0
            self.blocks = int(self.mode == Mode.TABLE)
            if self.mode in (Mode.ONE, Mode.HELD, Mode.TABLE):
                self.results = self.words
        elif job.kind in (Kind.LOAD, Kind.STORE):
            # Where bursts are cut depends on the address: all bases are aligned to one.
            self.local, self.bytes = job.own["local"], job.own["bytes"]
            self.offset = job.own["offset"]
            self.beats = -(-(job.own["bytes"] + self.offset % size) // size)


def _clash(read: int, write: int, config: AcceleratorConfig) -> bool:
    """Return whether a word is read in a row of a bank in which some bytes may be written."""
    word, words = config.word, (1 << config.local_bits) // config.word
    behind = (write // word - read // word) % words
    return behind in (0, 1) or (behind == words - 1 and write % word > 0)


def simulate(  # noqa: C901, PLR0912, PLR0915 - one cycle after the other, as the gateware has it
    jobs: Sequence[Job], config: AcceleratorConfig, *, latency: int = 40
) -> Timing:
    """Return how long a program takes.

    Parameters
    ----------
    jobs : sequence of Job
        The last one ends the run.
    config : AcceleratorConfig
    latency : int
        Cycles from a read's address to its first beat; 0 counts as 1.

    Raises
    ------
    Failure
        If the machine would wait for ever, which a program of the compiler never does.
    """
    array, size, word = config.array, config.axi_bytes, config.word
    rows, cols, every = array.rows, array.cols, config.rows_per_lane
    per_word = word // size
    works = [_Work(job, config, size) for job in jobs]
    per_job, per_round = job_words(word), parameter_words(rows, word, every)
    program_bytes = sum(job.program_bytes(word) for job in jobs)
    weight_bytes = sum(job.weights.size for job in jobs)
    place = -(-(HEADER + program_bytes) // 256) * 256
    latency = max(latency, 1)

    program, weights, load = (_Fetcher(size) for _ in range(3))
    fetchers = (program, weights, load)
    store = _Storer(size)
    job_ring, ring = _Ring(config.program_words), _Ring(config.ring_words)
    parts = [0, 0]
    loading = OUTSTANDING * BURST // size
    # A load on its way: where its next beat belongs, what is left, and beats in the queue.
    arriving = shows = loads = False
    mark = left = queued = 0
    # Addresses of the job's words, and of the results that leave, with their bytes.
    addresses: Iterator[tuple[int, int, int]] = iter(())
    address_next = 0
    results: Iterator[tuple[int, int]] = iter(())
    # The memory: cycle from which a beat can come, and whose it is.
    replies: deque[tuple[int, int]] = deque()

    # The run.
    state = "HEADER"
    heading = True
    stop = False
    # The program's side.
    p_state, p_left, p_rounds, used = "IDLE", 0, 0, 0
    p_index = -1
    valid = False
    ahead = 0
    # The front.
    f_state = "IDLE"
    loaded = 0
    after = False
    writing = pending = False
    running = moving = False
    asked = 0
    now_work: _Work | None = None
    back_work: _Work | None = None
    # Commands.
    giving = taken = False
    held: tuple[tuple[int, int, int, bool], bool] | None = None  # the next one, and if it is first
    tile = number = band = round_ = 0
    # Words.
    reading = 0
    asking = coming = fill = False
    moved_on = False  # the array moved in the cycle before
    # The pacer.
    busy = False
    byte = w = tile_index = pace_round = 0
    word_age, sum_age = cols, max(every * cols, 2)
    # Of the cycle before: the next round is not loaded; all of the job are.
    pace_waits = all_loaded = False
    width = 0
    # The loader: groups as (step of their first beat, pixels).
    groups: deque[tuple[int, int]] = deque()
    # The controller.
    full: tuple[int, int, int, bool] | None = None
    c_busy = c_stos = c_fill = c_tap = c_last_tap = c_turn = False
    c_taps_left = c_position = c_folds = c_depth = c_emit = 0
    wave = 0
    age, apart, draining, fold_width = cols, True, 0, 0
    wave_after = wave_steps(array, every)
    # The combiner.
    phase = holds = False
    c_count = c_entries = c_index = 0
    step = 0
    # Results: step of the next one, how many there are, steps from one to the next, and whether the
    # last one of them is the last one of its round, or of its job.
    leaving: deque[list[int]] = deque()
    gemm_delay = cols + rows + array.mac_stages + lane_steps(array.mac_stages)
    stream_delay = array.mac_stages + every + 1 + lane_steps(array.mac_stages)
    emitted = 0  # results of the job that are on their way or gone
    emits_round = rounds_done = 0

    timing = Timing()
    begins = timing.begins
    n_array = n_weights = n_activations = 0
    n_read = 0
    cycle = moved = 0

    while True:
        cycle += 1
        start = state == "CHECK"
        was_quiet = not program.busy
        load_busy = load.busy
        was_all_quiet = was_quiet and not (weights.busy or load.busy or store.busy)
        # ------------------------------------------------------------ the bus
        beat_of = -1
        if replies and replies[0][0] <= cycle:
            beat_of = replies.popleft()[1]
            n_read += 1
        chosen = 0 if program.valid else 2 if load.valid else 1
        address = fetchers[chosen].valid
        if address:
            due = cycle + latency
            replies.extend((due, chosen) for _ in range(fetchers[chosen].length))
        push_p = push_w = False
        if beat_of == 0 and not heading:
            push_p = parts[0] == per_word - 1
        elif beat_of == 1:
            push_w = parts[1] == per_word - 1

        # ------------------------------------------------------------ the machine: what there is
        job = now_work
        kind = job.kind if job else None
        combine = kind == Kind.COMBINE and running and all_loaded
        loaded_before = loaded
        idle = not (reading or asking or coming or fill)
        blocked = False
        if arriving and asking:
            rows_on = (address_next // word + 1 - mark // word) % ((1 << config.local_bits) // word)
            blocked = rows_on <= (left + mark % word + word - 1) // word
        # The loader.
        take_word = False
        while groups and step - groups[0][0] > cols:
            groups.popleft()
        for begun, pixels in groups:
            if cols - pixels <= step - begun - 1 <= cols - 1:
                take_word = True
        # The pacer.
        beat = False
        begins_word = False
        if busy:
            assert job is not None
            size_now = job.sizes[tile_index]
            length = job.lengths[w]
            last_word = w + 1 == len(job.lengths)
            begins_word = byte == 0
            if begins_word:
                apart_now = max(every * width, size_now, 2)  # a command comes in two cycles
                room = not last_word or sum_age + length > apart_now
                new = w == 0 and tile_index == 0
                beat = word_age >= size_now and room and not (new and pace_waits)
            else:
                beat = True
        wants_weights = beat and not ring.valid
        wants_word = take_word and not fill
        en = not (wants_weights or wants_word)

        # The controller.
        go = en and c_busy
        advance = c_tap_beat = finish = False
        if c_busy:
            if c_stos:
                mode_ok = wave == 0
                finishes = c_last_tap and c_emit != 0
                go = go and mode_ok and (not finishes or (apart and not draining))
                tap = c_tap
                weight_there = ring.valid
                advance = go and fill and (weight_there or not tap)
                c_tap_beat = advance and tap
                finish = advance and finishes
            else:
                advance = en and beat
                c_tap_beat = advance
                finish = advance and c_last_tap
        ends_command = advance and c_last_tap and (not c_stos or c_folds == 1)
        load_command = full is not None and en and (not c_busy or ends_command)
        cmd_ready = full is None or load_command

        # The combiner.
        c_moves = c_take = c_issue = c_entry = False
        if combine:
            assert job is not None
            mode = job.mode
            lacks = mode == Mode.TABLE and c_entries != ENTRIES
            c_entry = lacks and ring.valid
            final = c_count + 1 == job.per_result if mode == Mode.MOST else False
            twice = mode in (Mode.PAIR, Mode.HELD)
            if mode == Mode.PAIR:
                waits = not holds
            else:
                waits = mode == Mode.HOLD or (mode == Mode.MOST and not final)
            c_moves = fill and not lacks and (waits or not twice or not phase)
            c_take = c_moves and (waits or c_index == every - 1)
            c_issue = c_take and not waits

        # What is taken in this cycle.
        if combine:
            take = c_take and en
        elif kind == Kind.STREAM:
            take = advance
        else:
            take = take_word and en and fill
        operands = (c_tap_beat and c_stos) or (beat and en and ring.valid)
        pop_w = operands or (c_entry and en)
        n_array += operands
        n_weights += wants_weights
        n_activations += not wants_weights and wants_word

        # Results.
        last = round_end = False
        here = (mark, size) if loads else (0, 0)  # what is written
        if moved_on and leaving and leaving[0][0] == step:
            assert not loads
            here = next(results)
            one = leaving[0]
            one[0] += one[2]
            one[1] -= 1
            if not one[1]:
                round_end, last = bool(one[3]), bool(one[4])
                leaving.popleft()
        clash = asking and here[1] > 0 and _clash(address_next, here[0], config)
        freed = (
            (2 if last else 0) if back_work and back_work.kind == Kind.COMBINE else int(round_end)
        )

        # ------------------------------------------------------------ the front
        o_transfer = f_state == "TRANSFER"
        transferred = o_transfer and moving and (kind == Kind.LOAD or not store.busy)
        begin_transfer = o_transfer and not moving
        begin = f_state == "BEGIN" and kind in (Kind.GEMM, Kind.STREAM, Kind.COMBINE)
        done = f_state == "BEGIN" and kind == Kind.END
        give = held is None and (giving or (begin and kind != Kind.COMBINE))
        give = give and (kind == Kind.GEMM or round_ != loaded)
        accepted = held is not None and cmd_ready
        f_take = False
        if f_state == "IDLE" and valid and not pending:
            follows = works[p_index]
            f_take = not (writing or arriving) or (
                follows.overlap and follows.kind in (Kind.GEMM, Kind.STREAM, Kind.COMBINE)
            )
        o_busy_engine = busy or bool(groups) and step - groups[-1][0] <= cols
        entered = idle and not (giving or held or taken) and not o_busy_engine
        if kind == Kind.COMBINE:
            assert job is not None
            f_ends = (combine and job.hold and idle) or last
        else:
            f_ends = entered
        holding = job is not None and job.hold
        switch = (begin and not holding and (not writing or last)) or (pending and last)

        # The program's side.
        want_block: tuple[int, int] | None = None
        pop_p = False
        full_bank = False
        if p_state == "ASK":
            if not valid:
                want_block = (per_job, 1)
        elif p_state in ("JOB", "PARAMETERS"):
            pop_p = job_ring.valid
            full_bank = p_state == "PARAMETERS" and pop_p and p_left == 1
        elif p_state == "ROUND" and p_rounds and used != 2:
            want_block = (per_round, 1)

        w_block: tuple[int, int] | None = None
        if running and job and asked != job.blocks:
            w_block = (job.depth, job.times)

        if beat_of >= 0 or take or pop_w or last or f_take or store.left:
            moved = cycle
        elif cycle - moved > _PATIENCE + latency:
            raise Failure(f"nothing moves any more from cycle {moved:,} on, job {len(begins) - 1}")

        # ------------------------------------------------------------ clock edges
        # Rooms are those before the edge.
        free_p = (job_ring.depth - job_ring.held) * per_word - (parts[0] if per_word > 1 else 0)
        free_w = (ring.depth - ring.held) * per_word - (parts[1] if per_word > 1 else 0)
        room_p = HEADER // size if heading else max(0, free_p - program.waiting)
        room_w = 0 if load.busy and ring.held else max(0, free_w - weights.waiting)
        room_l = max(0, loading - queued - load.waiting)
        for number_of, (fetcher, room_of) in enumerate(
            ((program, room_p), (weights, room_w), (load, room_l))
        ):
            if fetcher.left or fetcher.valid or fetcher.waiting:
                fetcher.clock(address and chosen == number_of, beat_of == number_of, room_of)
        if per_word > 1:
            if beat_of == 0 and not heading:
                parts[0] = (parts[0] + 1) % per_word
            elif beat_of == 1:
                parts[1] = (parts[1] + 1) % per_word
        if store.busy:
            store.clock(cycle)
        arriving = arriving and (load_busy or queued > 0 or shows)
        if loads:
            mark += size
            left = max(0, left - size)

        # The run.
        if state == "HEADER":
            program.begin(0, HEADER // size)
            state = "WAIT"
        elif state == "WAIT":
            if was_quiet:
                heading = False
                state = "CHECK"
        elif state == "CHECK":
            program.begin(HEADER // size, -(-program_bytes // size))
            if weight_bytes:
                weights.begin(place // size, -(-weight_bytes // size))
            state = "RUN"
        elif state == "RUN":
            if done:
                state = "STOP"
        elif state == "STOP":
            if stop and was_all_quiet:
                break
            stop = True

        # Rings.
        got_w = ring.clock(pop_w, push_w, w_block)
        got_p = job_ring.clock(pop_p, push_p, want_block)
        if got_w:
            asked += 1

        # The program's side.
        used += full_bank - freed
        new_job = False
        if p_state == "IDLE":
            if start:
                p_state = "ASK"
        elif p_state == "ASK":
            p_left = per_job
            if got_p:
                p_state = "JOB"
        elif p_state == "JOB":
            if pop_p:
                p_left -= 1
                if p_left == 0:
                    p_state = "NEW"
        elif p_state == "NEW":
            new_job = True
            p_index += 1
            p_rounds = works[p_index].rounds
            p_state = "ROUND"
        elif p_state == "ROUND":
            p_left = per_round
            if p_rounds == 0:
                p_state = "ASK"
            elif got_p:
                p_state = "PARAMETERS"
        elif p_state == "PARAMETERS" and pop_p:
            p_left -= 1
            if p_left == 0:
                p_rounds -= 1
                p_state = "ROUND"
        if f_take:
            loaded, ahead = ahead + full_bank, 0
        elif full_bank:
            if valid:
                ahead += 1
            else:
                loaded += 1
        if f_take:
            valid = False
        elif new_job:
            valid = True

        # The front.
        if begin_transfer:
            assert job is not None
            if kind == Kind.LOAD:
                load.begin(job.offset // size, job.beats)
                arriving = True
                mark = job.local - job.offset % size
                left = job.bytes + job.offset % size
            else:
                store.begin(job.offset // size, job.beats)
        moving = o_transfer and not transferred
        if begin:
            asked = 0
        if f_state == "IDLE":
            if f_take:
                after = kind == Kind.STREAM
                now_work = works[p_index]
                begins.append(cycle)
                f_state = "BEGIN"
                tile = number = band = round_ = 0
        elif f_state == "BEGIN":
            if begin:
                running = True
                f_state = "RUN"
            elif kind in (Kind.LOAD, Kind.STORE):
                f_state = "TRANSFER"
            else:
                f_state = "END"
        elif f_state == "RUN":
            if f_ends:
                running = False
                f_state = "IDLE"
        elif f_state == "TRANSFER" and transferred:
            f_state = "IDLE"
        if switch:
            writing, pending, back_work = True, False, job
            assert job is not None
            where, bytes_ = writes(job.job)
            results = zip(where.tolist(), bytes_.tolist(), strict=True)
        elif last:
            writing = False
        elif begin and not holding:
            pending = True

        # Commands, words, the array.
        command = held[0] if held and accepted else None
        new_taken = bool(held and accepted and held[1] and kind == Kind.GEMM)
        if accepted:
            held = None
        if begin:
            giving = kind != Kind.COMBINE
        if give:
            assert job is not None
            first = tile == 0 and round_ == 0
            if kind == Kind.GEMM:
                held = (job.depth, 1, job.sizes[tile], False), first
                signal_ends = tile + 1 == len(job.sizes)
                tile += 1
                round_ends = signal_ends
            else:
                single = job.passes == 1
                last_pass = number + 1 == job.passes
                last_fold = tile + 1 == job.folds
                emit = (job.last if single or last_fold else cols) if last_pass else 0
                held = (job.taps, job.folds if single else 1, emit, True), first
                number += 1
                signal_ends = last_pass and (single or last_fold)
                if last_pass:
                    number = 0
                    tile += 1
                round_ends = signal_ends and band + 1 == job.bands
            if signal_ends:
                tile = 0
                band += 1
            if round_ends:
                band = 0
                round_ += 1
                if round_ == job.rounds:
                    giving = False
        if begin:
            assert job is not None
            emitted = emits_round = rounds_done = 0
            c_count = 0
        begin_pacer = taken
        taken = new_taken

        reads_word = False
        if not fill or take:
            reads_word = asking and not blocked and not clash
            coming, fill = reads_word, coming
        if not asking or reads_word:
            asking = reading > 0
            if reading:
                address_next = next(addresses)[0]
                reading -= 1
        if begin:
            assert job is not None
            reading = job.words
            addresses = reads(job.job, config)

        if en:
            if word_age < cols:
                word_age += 1
            if sum_age < max(every * cols, 2):
                sum_age += 1
        if beat and en:
            assert job is not None
            if begins_word:
                word_age = 1
                groups.append((step, job.sizes[tile_index]))
            byte += 1
            if byte == job.lengths[w]:
                byte = 0
                w += 1
                if w == len(job.lengths):
                    w = 0
                    sum_age = 1
                    width = job.sizes[tile_index]
                    tile_index += 1
                    if tile_index == len(job.sizes):
                        tile_index = 0
                        pace_round += 1
                        busy = pace_round != job.rounds
                    tile_over = tile_index == 0
                    leaving.append(
                        [step + gemm_delay, width, every, tile_over, tile_over and not busy]
                    )
        if begin_pacer:
            if after:
                sum_age, width = 0, cols
            busy = True
            byte = w = tile_index = pace_round = 0

        # The controller.
        if en and wave:
            wave -= 1
        if c_stos and finish:
            assert job is not None
            over = False
            if c_folds == 1:  # the last one of a command
                emits_round += 1
                if emits_round == job.bands * (1 if job.passes == 1 else job.folds):
                    emits_round = 0
                    rounds_done += 1
                    over = True
            leaving.append(
                [step + stream_delay, fold_width, every, over, over and rounds_done == job.rounds]
            )
        older = min(age + 1, cols)
        if en:
            if draining:
                draining -= 1
            age = older
            apart = older >= fold_width
        if finish:
            following = (c_emit if c_folds == 2 else cols) if c_stos else cols
            draining = every * fold_width - 1
            fold_width = following
            age = 1
            apart = following <= 1
        if advance:
            was_last, left_before = c_last_tap, c_taps_left
            c_taps_left -= 1
            c_last_tap = c_tap and left_before == 1
            if c_stos:
                if was_last:
                    c_tap = False
                if c_turn:
                    c_turn = cols == 1
                    c_position = 0
                    c_tap, c_last_tap, c_taps_left = True, c_depth == 1, c_depth - 1
                    if not c_fill:
                        c_folds -= 1
                    c_fill = False
                else:
                    c_position += 1
                    c_turn = c_position == cols - 1
            else:
                wave = wave_after
            if ends_command:
                c_busy = False
        if load_command:
            assert full is not None
            depth_of, folds_of, emit_of, stos_of = full
            c_busy, c_stos, c_emit, c_folds, c_depth = True, stos_of, emit_of, folds_of, depth_of
            c_taps_left = depth_of - 1
            c_last_tap = depth_of == 1
            fills = stos_of and cols > 1
            c_fill = fills
            c_position = int(fills)
            c_turn = cols <= 2
            c_tap = not fills
            if fills:
                c_last_tap = False
            fold_width = (emit_of if folds_of == 1 else cols) if stos_of else emit_of
            apart = fold_width <= 1 or (not finish and older >= fold_width)
            full = None
        if command is not None:
            full = command

        # The combiner.
        if combine and en:
            assert job is not None
            if c_issue:
                emitted += 1
                delay = 1 + lane_steps(array.mac_stages) + twice * wide_steps(array.mac_stages)
                over = emitted == job.results
                leaving.append([step + delay, 1, 1, over, over])
            if c_take:
                if job.mode == Mode.MOST:
                    c_count = 0 if final else c_count + 1
                holds = job.mode == Mode.PAIR and not holds
        if en:
            phase = combine and not phase
            if c_moves and not waits:
                c_index = (c_index + 1) % every
            c_entries += c_entry
            step += 1
        moved_on = en
        # A word of a load goes on unless a result leaves in the next cycle.
        loads = shows and not (moved_on and leaving and leaving[0][0] == step)
        stays = shows and not loads
        shows = stays or queued > 0
        queued += (beat_of == 2) - (shows and not stays)
        pace_waits = pace_round == loaded_before
        all_loaded = job is not None and loaded_before == job.rounds
        if not combine:
            c_entries = 0

    timing.cycles = cycle
    timing.counters = {
        "ARRAY": n_array, "WEIGHTS": n_weights, "ACTIVATIONS": n_activations,
        "RESULTS": cycle - n_array - n_weights - n_activations,
        "BYTES_READ": n_read * size, "BYTES_WRITTEN": store.written * size,
    }  # fmt: skip
    return timing
