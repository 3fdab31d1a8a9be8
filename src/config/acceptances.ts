import { defineWarning } from '../kit/warning.ts'
import { isObject } from '../lib/schema.ts'
import type { Path } from './fault.ts'
import type { FaultList } from './fault-list.ts'
import {
  type AcceptedWarning,
  type CheckedWarning,
  type Finding,
  findingAt,
  type Subject,
  warningOf
} from './finding.ts'
import { ACCEPTANCE_KEY, type InterpolatedSource } from './interpolate.ts'
import { expectation } from './messages.ts'
import { isInside, type Located, locate, type Where, whereOf } from './where.ts'

/** A warning that the config accepts (`x-ok`) at one place and inside of it. */
export interface Acceptance extends Located {
  readonly code: string
  readonly reason: string
  /** What it holds for. */
  readonly inside: Where
}

/** Reads what a file accepts; anything but codes with reasons is an error. */
export function readAcceptances(source: InterpolatedSource, faults: FaultList): Acceptance[] {
  return source.accepting.flatMap((path) => {
    const at = [...path, ACCEPTANCE_KEY]
    const written = valueAt(source.value, at)
    if (!isObject(written)) {
      faults.addAt(source, at, expectation({ wanted: EXPECTED, value: written }))
      return []
    }
    return Object.entries(written).flatMap(([code, reason]) => {
      const own = [...at, code]
      if (!CODE.test(code))
        faults.addAt(source, own, `expected the code of a warning, such as "${EXAMPLE}", got "${code}"`)
      else if (typeof reason !== 'string' || reason.trim() === '')
        faults.addAt(
          source,
          own,
          'expected the reason why this warning is accepted, as a text that is not empty'
        )
      else return [{ ...locate(source, own), code, reason, inside: whereOf(source, path) }]
      return []
    })
  })
}

const CODE = /^SP_WARN_[A-Z0-9_]+$/
const EXAMPLE = 'SP_WARN_PUBLIC_BESIDE_PROTECTED'
const EXPECTED = `an object with codes and reasons, such as { "${EXAMPLE}": "the front page is public on purpose" }`

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce((here, key) => (here as Record<string | number, unknown>)[key], value)

/** Returns the acceptances that are outside of some parts of the config. */
export const acceptancesOutside = (
  acceptances: readonly Acceptance[],
  parts: readonly Where[]
): readonly Acceptance[] =>
  parts.length === 0
    ? acceptances
    : acceptances.filter(({ where }) => !parts.some((part) => isInside(where, part)))

const unusedAcceptance = defineWarning(
  'SP_WARN_ACCEPTANCE_UNUSED',
  'low',
  'The config accepts a warning that there is not'
)

/** The codes of warnings that depend on the machine or the environment, so that an acceptance may be unused elsewhere. */
const ENVIRONMENTAL: ReadonlySet<string> = new Set([
  'SP_WARN_ADMIN_OPEN',
  'SP_WARN_PROCESS_DESCRIPTORS',
  'SP_WARN_SECRET_WEAK',
  'SP_WARN_STORE_WORKERS'
])

/** The warnings of a config, and those that it accepts. */
export interface Judged {
  readonly warnings: readonly CheckedWarning[]
  readonly accepted: readonly AcceptedWarning[]
}

/** Separates the warnings that the config accepts from the others, and warns of acceptances that no longer apply. */
export function judge(findings: readonly Finding[], acceptances: readonly Acceptance[]): Judged {
  const book = new AcceptanceBook(acceptances)
  const first = findings.map((finding) => book.divide(finding))
  const unused = book.unused().map((finding) => book.divide(finding))
  const all = [...first, ...unused]
  return {
    warnings: all.flatMap(({ warnings }) => warnings).toSorted(bySeverity),
    accepted: all.flatMap(({ accepted }) => accepted)
  }
}

const SEVERITIES = ['high', 'medium', 'low']

const bySeverity = (a: CheckedWarning, b: CheckedWarning): number =>
  SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity)

class AcceptanceBook {
  readonly #byCode = new Map<string, Acceptance[]>()
  readonly #used = new Set<Acceptance>()

  constructor(acceptances: readonly Acceptance[]) {
    for (const acceptance of acceptances) {
      const known = this.#byCode.get(acceptance.code)
      if (known === undefined) this.#byCode.set(acceptance.code, [acceptance])
      else known.push(acceptance)
    }
  }

  /** Divides the subjects of a finding by what accepts them. */
  divide(finding: Finding): Judged {
    const candidates = this.#byCode.get(finding.code) ?? []
    const rest: Subject[] = []
    const by = new Map<Acceptance, Subject[]>()
    for (const subject of finding.subjects) {
      const fitting = candidates.filter(({ inside }) =>
        [subject.where, ...(subject.also ?? [])].some((where) => isInside(where, inside))
      )
      for (const each of fitting) this.#used.add(each)
      // The innermost gives the reason.
      const [best] = fitting.toSorted((a, b) => b.inside.path.length - a.inside.path.length)
      if (best === undefined) rest.push(subject)
      else by.set(best, [...(by.get(best) ?? []), subject])
    }
    const warning = warningOf(finding, rest)
    return {
      warnings: warning === undefined ? [] : [warning],
      accepted: [...by].flatMap(([{ reason }, subjects]) => {
        const accepted = warningOf(finding, subjects)
        return accepted === undefined ? [] : [{ ...accepted, reason }]
      })
    }
  }

  /** Returns a finding for each acceptance that no warning needed; a file that is included twice counts once. */
  unused(): Finding[] {
    const placeOf = ({ where: { file, path } }: Acceptance): string => JSON.stringify([file, path])
    const used = new Set([...this.#used].map(placeOf))
    const unused = [...this.#byCode.values()]
      .flat()
      .filter(
        (acceptance) =>
          acceptance.code !== unusedAcceptance.rule.code &&
          !ENVIRONMENTAL.has(acceptance.code) &&
          !used.has(placeOf(acceptance))
      )
    return [...new Map(unused.map((acceptance) => [placeOf(acceptance), acceptance])).values()].map(
      (acceptance) =>
        findingAt(
          unusedAcceptance(
            `There is no ${acceptance.code} here any more; remove it from "${ACCEPTANCE_KEY}", so that it can't hide a new one`,
            []
          ),
          acceptance
        )
    )
  }
}
