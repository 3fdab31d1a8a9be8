// Links of the pages as the site has them: pages that the repository has outside of docs/ are pages of the site, too, and
// other files are copied to it as text.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const docs = join(repository, 'docs')

/** The pages that are called README.md for GitHub. */
export const rewrites = {
  'README.md': 'contents.md',
  'reference/README.md': 'reference/index.md',
  'decisions/README.md': 'decisions/index.md'
}

const LINK = /(?<=\]\()([^)#\s]+)(#[^)\s]*)?(?=\))/g
const EXTERNAL = /^(?:[a-z]+:|\/)/

const inRepository = (file: string): string => relative(repository, file).split(sep).join('/')

/** Returns the path on the site of a page outside of docs/, such as "src" for src/README.md. */
export const sourcePath = (file: string): string =>
  inRepository(file)
    .replace(/(?:^|\/)README\.md$|\.md$/, '')
    .toLowerCase() || 'readme'

// Where the site has a file as a page.
const pageOf = (file: string): string =>
  relative(docs, file).startsWith('..') ? join(docs, 'source', `${sourcePath(file)}.md`) : file

/** Returns a link in a file of the repository as a link on the site. */
export function siteLink(href: string, from: string): string {
  const [path = '', anchor] = href.split('#')
  if (path === '' || EXTERNAL.test(path)) return href
  const file = join(dirname(from), path)
  const hash = anchor === undefined ? '' : `#${anchor}`
  const inDocs = relative(docs, file).split(sep).join('/')
  if (!inDocs.startsWith('../')) {
    if (!inDocs.endsWith('.md'))
      return relative(dirname(pageOf(from)), file)
        .split(sep)
        .join('/')
    return `/${rewrites[inDocs as keyof typeof rewrites] ?? inDocs}${hash}`
  }
  if (file.endsWith('.md')) return `/source/${sourcePath(file)}.md${hash}`
  return `/files/${inRepository(file)}.txt`
}

/** Returns a text of a file outside of docs/ with its links as those on the site. */
export const withSiteLinks = (text: string, from: string): string =>
  text.replaceAll(LINK, (href) => siteLink(href, from))

/** Returns the files outside of docs/ that its pages link to, and those that these link to. */
export function linkedFiles(): string[] {
  const found = new Set<string>()
  const queue = readdirSync(docs, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules') && !name.includes('['))
    .map((name) => join(docs, name))
  for (let page = queue.pop(); page !== undefined; page = queue.pop())
    for (const [, path = ''] of readFileSync(page, 'utf8').matchAll(LINK)) {
      const file = join(dirname(page), path)
      if (EXTERNAL.test(path) || found.has(file) || !relative(docs, file).startsWith('..')) continue
      if (!existsSync(file) || !statSync(file).isFile()) continue
      found.add(file)
      if (file.endsWith('.md')) queue.push(file)
    }
  return [...found].toSorted()
}

/** Returns the path on the site of a file that is copied as text. */
export const textPath = (file: string): string => posix.join('files', `${inRepository(file)}.txt`)
