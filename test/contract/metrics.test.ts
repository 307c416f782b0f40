import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { catalogue } from '@docmesh/telemetry'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')

it('every metric of the catalogue is emitted by some program', () => {
  const tracked = execFileSync(
    'git',
    ['ls-files', '-co', '--exclude-standard', 'libs/*.ts', 'services/*.ts'],
    { cwd: root, encoding: 'utf8' },
  )
  const sources = tracked
    .split('\n')
    .filter((path) => path && !/\.(test|fixture)\.ts$|\/gen\/|catalogue/.test(path))
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n')
  expect(Object.keys(catalogue).filter((name) => !sources.includes(`'${name}'`))).toEqual([])
})
