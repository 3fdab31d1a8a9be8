import { describeBase } from './base-revision.ts'
import { type DiffReport, replayLines, routesOf, sentenceOf, valuesOf } from './report.ts'

/** Prints a comparison for a terminal. */
export function diffText({ before, after, base, findings, failed, replay }: DiffReport): string {
  const lines: string[] = base === undefined ? [] : [`compared with ${describeBase(base)}`, '']
  let kind: string | undefined
  for (const finding of findings) {
    if (finding.class !== kind) lines.push(...(kind === undefined ? [] : ['']), finding.class)
    kind = finding.class
    lines.push(`  ${sentenceOf(finding)}`)
    const values = valuesOf(finding)
    if (values !== undefined) lines.push(`    ${values}`)
    for (const route of routesOf(finding)) lines.push(`    ${route}`)
    if (finding.place !== undefined) lines.push(`    ${finding.place}`)
  }
  if (findings.length === 0) lines.push(`Nothing changes for requests from ${before} to ${after}`)
  if (replay !== undefined) lines.push('', ...replayLines(replay))
  if (failed.length > 0) lines.push('', `failed: ${failed.join(', ')}`)
  return `${lines.join('\n')}\n`
}
