import { describeBase } from './base-revision.ts'
import { type DiffReport, replayLines, routesOf, sentenceOf, valuesOf } from './report.ts'

/** Prints a comparison as Markdown, for a comment on a pull request. */
export function diffMarkdown({ before, after, base, findings, failed, replay }: DiffReport): string {
  const from = base === undefined ? code(before) : cell(describeBase(base))
  const lines = ['## What changes for requests', '', `From ${from}, to ${code(after)}.`]
  let kind: string | undefined
  for (const finding of findings) {
    if (finding.class !== kind)
      lines.push('', `### ${finding.class}`, '', '| Change | Values | Routes | Place |', '|---|---|---|---|')
    kind = finding.class
    const values = valuesOf(finding)
    lines.push(
      `| ${cell(sentenceOf(finding))} | ${values === undefined ? '' : code(values)} | ${routesOf(finding).map(code).join('<br>')} | ${finding.place === undefined ? '' : code(finding.place)} |`
    )
  }
  if (findings.length === 0) lines.push('', 'Nothing changes for requests.')
  if (replay !== undefined) lines.push('', ...replayLines(replay).map((line) => `- ${cell(line.trim())}`))
  if (failed.length > 0) lines.push('', `**Failed: ${failed.join(', ')}**`)
  return `${lines.join('\n')}\n`
}

/** Escapes what a table cell or HTML would read. */
const cell = (text: string): string =>
  text
    .replaceAll(/[\\`*_[\]<>]/g, '\\$&')
    .replaceAll('|', '\\|')
    .replaceAll(/\s*\n\s*/g, ' ')

function code(text: string): string {
  const line = text.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ')
  const fence = line.includes('`') ? '``' : '`'
  return `${fence}${line.startsWith('`') ? ' ' : ''}${line}${line.endsWith('`') ? ' ' : ''}${fence}`
}
