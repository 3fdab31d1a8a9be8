// The sidebar, from the table of contents that GitHub shows: docs/README.md.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { siteLink } from './links.ts'

/** An entry of the sidebar. */
export interface Entry {
  readonly text: string
  readonly link?: string
  readonly collapsed?: boolean
  readonly items?: Entry[]
}

const CONTENTS = fileURLToPath(new URL('../README.md', import.meta.url))
const REFERENCE = new URL('../reference/', import.meta.url)

/** Returns the sidebar: a group for each kind of page, and in it the groups of the table of contents. */
export const sidebar = (): Entry[] =>
  readFileSync(CONTENTS, 'utf8')
    .split(/^## /m)
    .slice(1)
    .map((kind) => {
      const [heading = '', ...lines] = kind.split('\n')
      return { text: heading.trim(), items: entriesOf(lines) }
    })

function entriesOf(lines: readonly string[]): Entry[] {
  const entries: Entry[] = []
  let here = entries
  for (const line of lines) {
    const group = /^\*\*(.*)\*\*$/.exec(line)?.[1]
    if (group !== undefined) {
      here = []
      entries.push({ text: group, collapsed: true, items: here })
    }
    if (line.startsWith('- ')) here.push(...linksOf(line))
  }
  return entries
}

// What follows a colon explains the entry, and may link to other pages.
const linksOf = (line: string): Entry[] =>
  [...(line.split('): ')[0] ?? '').concat(')').matchAll(/\[([^\]]+)\]\(([^)]+)\)/g)].map(
    ([, text = '', href = '']) => {
      const link = siteLink(href, CONTENTS).replace(/(?:index)?\.md(?=#|$)/, '')
      return link === '/reference/' ? { text, link, collapsed: true, items: optionPages() } : { text, link }
    }
  )

const optionPages = (): Entry[] =>
  readdirSync(REFERENCE)
    .filter((name) => name !== 'README.md')
    .map((name) => ({
      text: /^# (.*)$/m.exec(readFileSync(new URL(name, REFERENCE), 'utf8'))?.[1] ?? name,
      link: `/reference/${name.replace(/\.md$/, '')}`
    }))
