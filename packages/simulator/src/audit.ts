import type { SimMember } from './member.ts';

interface Call {
  readonly member: SimMember;
  readonly life: number | undefined;
  readonly text: string;
  answers: number;
}

/** Every call on a replica is answered exactly once, unless its process dies first. */
export class Audit {
  readonly problems: string[] = [];
  readonly #open = new Set<Call>();

  /** Registers a call about to be made; returns what to run at each answer. */
  begin(member: SimMember, text: string): () => void {
    const call: Call = { member, life: member.life, text, answers: 0 };
    this.#open.add(call);
    return () => {
      call.answers += 1;
      this.#open.delete(call);
      if (call.answers > 1) {
        this.problems.push(`${member.name} answered "${text}" ${call.answers} times`);
      }
    };
  }

  /** Calls whose process still lives and that have no answer. `lives` = life by member before an orderly stop. */
  unanswered(lives: ReadonlyMap<SimMember, number | undefined>): readonly string[] {
    return [...this.#open]
      .filter(({ member, life }) => life !== undefined && lives.get(member) === life)
      .map(({ member, text }) => `${member.name} never answered "${text}"`);
  }
}
