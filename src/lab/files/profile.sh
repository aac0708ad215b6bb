# root's aliases on CentOS: a trap for tools that go through a shell.
alias rm='rm -i'
alias cp='cp -i'
alias mv='mv -i'
